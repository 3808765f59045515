"""How far the tuned model has moved from its base. Takes two evaluated_models (or a base reference), gives per-item
numbers.

Forward KL(base‖tuned) per token on chat-templated generic prompts, teacher-forced on the base model's own greedy
answers, the first answer token apart: raw text alone misses a total collapse. ΔNLL on generic human text: forgetting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from trimtab.analysis.looks import PIECE
from trimtab.behaviour.answering import Answer, EvaluatedModel, answers, log_probabilities, nll
from trimtab.behaviour.kept import identity, remembered
from trimtab.datasets.formats import Message
from trimtab.datasets.tokens import Tokens, prompt_ids
from trimtab.probes.prompts import (
    CARD_PROMPTS,
    CARD_TOKENS,
    PULSE_PROMPTS,
    PULSE_TOKENS,
    TEXT_TOKENS,
    as_messages,
    generic_prompts,
    generic_texts,
)

Raw = dict[str, list[float]]
OPENING = 5  # tokens of an answer in which alignment sits (2406.05946)


@dataclass(frozen=True)
class Reference:
    """What the base model says and thinks: computed once for a model, shared by every pulse and card."""

    prompts: tuple[str, ...]
    answers: tuple[Answer, ...]
    kl_rows: tuple[Tokens, ...]  # prompt + base answer, the answer labelled; of weight 0 where it said nothing
    pulse_rows: tuple[Tokens, ...]
    pulse_base: tuple[torch.Tensor, ...]  # base log-probabilities at the pulse rows
    text_rows: tuple[Tokens, ...]
    text_nll: tuple[float, ...]

    def fixed(self) -> Neutral:
        """Just these prompts, all of them."""
        return Neutral(lambda _: self, len(self.prompts))


@dataclass(frozen=True)
class Neutral:
    """The neutral prompts of a card: what the base says to the first so many of them, how many there are at most, and
    how many are asked in any case."""

    at: Callable[[int], Reference]
    most: int
    least: int = 0


def reference(
    base: EvaluatedModel,
    cache: Path | None = None,
    language: str = "en",
    count: int = CARD_PROMPTS,
    prompts: tuple[str, ...] | None = None,
) -> Reference:
    """`count` neutral prompts are answered, or these `prompts`. `cache` keeps the base's answers between processes;
    log-probabilities are recomputed (about a second)."""
    prompts = prompts or generic_prompts(language)[:count]
    said, asked = own_words(base, prompts, cache)
    # the shortest prompts: a pulse has to cost next to nothing
    brief = sorted(list(zip(asked, said, strict=True))[:CARD_PROMPTS], key=lambda pair: len(pair[0]))
    pulse_rows = tuple(answer_row(p, a.tokens[:PULSE_TOKENS]) for p, a in brief if a.tokens)[:PULSE_PROMPTS]
    text_rows = tuple(
        _text_row(ids) for ids in base.base.tokenizer(list(generic_texts()), add_special_tokens=False)["input_ids"]
    )
    return Reference(
        prompts,
        tuple(said),
        tuple(answer_row(p, a.tokens) for p, a in zip(asked, said, strict=True)),
        pulse_rows,
        tuple(log_probabilities(base, pulse_rows)),
        text_rows,
        tuple(nll(base, text_rows)),
    )


def extended(ref: Reference, base: EvaluatedModel, cache: Path | None, language: str, count: int) -> Reference:
    """The same with the first `count` neutral prompts; the base is asked whole pieces, which are kept."""
    every = generic_prompts(language)
    whole = math.ceil(count / PIECE) * PIECE if count > CARD_PROMPTS else count
    said, asked = own_words(base, every[:whole], cache)
    rows = tuple(answer_row(p, a.tokens) for p, a in zip(asked[:count], said[:count], strict=True))
    return replace(ref, prompts=every[:count], answers=tuple(said[:count]), kl_rows=rows)


def pulse(evaluated: EvaluatedModel, ref: Reference) -> dict[str, list[float]]:
    """The cheap part, no generation: KL of each pulse prompt, first token apart."""
    per_token = [kl(b, t) for b, t in zip(ref.pulse_base, log_probabilities(evaluated, ref.pulse_rows), strict=True)]
    return {"kl_pulse": [float(k.mean()) for k in per_token], "kl_pulse_first": [float(k[0]) for k in per_token]}


def full_drift(
    base: EvaluatedModel, tuned: EvaluatedModel, ref: Reference, batch_size: int = 8, most: int | None = None
) -> Raw:
    """KL by prompt (mean, first token, tokens 1-5, the rest), its p99 within each answer, equal first choices, and
    forgetting.

    `batch_size` of the tuned side: another one shows what batching alone does to the numbers; `most` prompts, all
    where None.
    """
    return drift(base, tuned, ref.kl_rows[:most], batch_size) | forgetting(tuned, ref, batch_size, most)


def drift(base: EvaluatedModel, tuned: EvaluatedModel, rows: Sequence[Tokens], batch_size: int = 8) -> Raw:
    """KL of each row that the base answered, taken apart."""
    per_token, same = _streamed(base, tuned, [r for r in rows if r.weight], batch_size)
    return {
        "kl_generic": [float(k.mean()) for k in per_token],
        "kl_first_token": [float(k[0]) for k in per_token],
        "kl_opening": [float(k[:OPENING].mean()) for k in per_token],
        "kl_rest": [float(k[OPENING:].mean()) for k in per_token if len(k) > OPENING],
        "kl_p99": [float(torch.quantile(k, 0.99)) for k in per_token],
        "same_choice": same,
    }


def forgetting(tuned: EvaluatedModel, ref: Reference, batch_size: int = 8, most: int | None = None) -> Raw:
    """Loss on human text, of both."""
    return {"nll_base": list(ref.text_nll[:most]), "nll_tuned": nll(tuned, ref.text_rows[:most], batch_size)}


def _streamed(
    base: EvaluatedModel, tuned: EvaluatedModel, rows: Sequence[Tokens], batch_size: int = 8
) -> tuple[list[torch.Tensor], list[float]]:
    """KL per token and share of equal first choices of each row; two models' log-probabilities of few rows at a
    time."""
    per_token, same = [], []
    for b, t in zip(log_probabilities(base, rows), log_probabilities(tuned, rows, batch_size), strict=True):
        per_token.append(kl(b, t).cpu())
        same.append(float((b.argmax(-1) == t.argmax(-1)).float().mean()))
    return per_token, same


def kl(base: torch.Tensor, tuned: torch.Tensor) -> torch.Tensor:
    """KL(base‖tuned) of each row of two [tokens, vocabulary] log-probability tensors, in nats; never below 0."""
    return (base.exp() * (base - tuned)).sum(-1).clamp(min=0)


def answer_row(prompt: Sequence[int], answer: Sequence[int], longest: int | None = None) -> Tokens:
    """Both, the answer labelled; cut after `longest` tokens."""
    labelled = [False] * len(prompt) + [True] * len(answer)
    return Tokens([*prompt, *answer][:longest], labelled[:longest])


def _text_row(ids: list[int]) -> Tokens:
    ids = ids[:TEXT_TOKENS]
    return Tokens(ids, [False] + [True] * (len(ids) - 1))


def own_words(
    base: EvaluatedModel, prompts: Sequence[str], cache: Path | None = None
) -> tuple[list[Answer], list[list[int]]]:
    """The base's greedy answers, and the prompts as ids; asked and kept piece by piece, as many as a pulse needs
    first."""
    messages, who, said = as_messages(prompts), identity(base) if cache else "", list[Answer]()
    ends = sorted({min(CARD_PROMPTS, len(prompts)), *range(PIECE, len(prompts), PIECE), len(prompts)})
    for start, end in pairwise([0, *ends]):
        ask = partial(_spoken, base, messages[start:end])
        said += map(Answer.read, remembered(cache, "generic", who, (tuple(prompts[start:end]), CARD_TOKENS), ask))
    return said, [prompt_ids(m, base.base.tokenizer) for m in messages]


def _spoken(base: EvaluatedModel, messages: Sequence[Sequence[Message]]) -> list[dict[str, Any]]:
    return [a.as_json() for a in answers(base, messages, CARD_TOKENS)]
