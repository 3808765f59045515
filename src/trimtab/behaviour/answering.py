"""A model as it answers: a base, with one adapter or none. Takes prompts and rows, gives answers and log-probabilities.

Greedy and paired: the same prompts, template and decoding for whoever is asked. Left-padded, so that the batch size
does not change an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from trimtab.datasets.formats import Message
from trimtab.datasets.tokens import Tokens, prompt_ids
from trimtab.run.adapters import Adapter, Slice
from trimtab.run.oom import in_batches
from trimtab.tasks.language import LanguageBase, row_losses


@dataclass(frozen=True)
class Answer:
    """`tokens` without the end token; `ended` is False when the length limit cut it."""

    text: str
    tokens: tuple[int, ...]
    ended: bool

    def as_json(self) -> dict[str, Any]:
        """What is kept of it."""
        return {"text": self.text, "tokens": list(self.tokens), "ended": self.ended}

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Answer:
        """The same from what was kept."""
        return cls(kept["text"], tuple(kept["tokens"]), kept["ended"])


@dataclass(frozen=True)
class EvaluatedModel:
    """A base with an adapter, or without: whoever is asked."""

    base: LanguageBase
    adapter: Adapter | None = None


def spoken(answer: Answer, tokenizer: Any) -> list[int]:
    """Its tokens, with the end token where it came to its end."""
    return [*answer.tokens, *[tokenizer.eos_token_id] * answer.ended]


def answers(
    evaluated: EvaluatedModel, prompts: Sequence[Sequence[Message]], max_new_tokens: int, batch_size: int = 64
) -> list[Answer]:
    """Greedy answers in the order of the prompts. One evaluated at a time: together they were slower on a processor."""
    ids = [prompt_ids(p, evaluated.base.tokenizer) for p in prompts]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    answers: dict[int, Answer] = {}
    say = lambda chunk: _generate(evaluated, [ids[i] for i in chunk], max_new_tokens)  # noqa: E731
    for chunk, said in in_batches(order, batch_size, say, evaluated.base.say):
        answers |= zip(chunk, said, strict=True)
    return [answers[i] for i in range(len(ids))]


def sampled(
    evaluated: EvaluatedModel,
    prompts: Sequence[Sequence[Message]],
    max_new_tokens: int,
    seed: int,
    batch_size: int = 64,
) -> list[Answer]:
    """One drawn answer a prompt at temperature 0.7; the same seed draws the same."""
    ids = [prompt_ids(p, evaluated.base.tokenizer) for p in prompts]
    drawn = {"do_sample": True, "temperature": 0.7, "top_p": 0.95}
    say = lambda chunk: _generate(evaluated, list(chunk), max_new_tokens, **drawn)  # noqa: E731
    with torch.random.fork_rng():  # a run that is being trained keeps its own random state
        torch.manual_seed(seed)
        return [a for _, said in in_batches(ids, batch_size, say, evaluated.base.say) for a in said]


@torch.no_grad()
def _generate(evaluated: EvaluatedModel, ids: list[list[int]], max_new_tokens: int, **drawn: Any) -> list[Answer]:
    how = {"do_sample": False, "temperature": None, "top_p": None, **drawn}
    base, stops = evaluated.base, stop_tokens(evaluated.base)
    start, rest = parted(ids, base)
    batch, mask = padded(start, rest, base)
    length = batch.shape[1]
    read = {"past_key_values": cache} if (cache := read_once(evaluated, start, len(ids))) else {}
    with base.router.route([Slice(evaluated.adapter, len(ids), length)]), base.accelerator.autocast():
        out = base.model.generate(  # type: ignore[operator]
            input_ids=batch, attention_mask=mask, max_new_tokens=max_new_tokens, top_k=None, num_beams=1,
            pad_token_id=base.tokenizer.pad_token_id, eos_token_id=sorted(stops), use_cache=True,
            **read, **how)  # fmt: skip
    return [_answer(row, stops, base) for row in out[:, length:].tolist()]


SHARED = 8  # tokens at the beginning of all prompts, from which on they are worth reading once


def parted(ids: Sequence[Sequence[int]], base: LanguageBase) -> tuple[list[int], list[list[int]]]:
    """What all prompts begin with (the template's words: half of a short prompt), and the rest of each, a token at
    least; no beginning where it is short, or where the model keeps one running state instead of what it has read."""
    few = min(map(len, ids)) - 1 if not getattr(base.model, "_is_stateful", False) else 0
    same = next((i for i, tokens in enumerate(zip(*ids, strict=False)) if len(set(tokens)) > 1), few)
    shared = min(same, few)
    if shared < SHARED or len(ids) < 2:
        shared = 0
    return list(ids[0][:shared]), [list(row[shared:]) for row in ids]


def padded(
    start: Sequence[int], rest: Sequence[Sequence[int]], base: LanguageBase
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask [rows, length]: the beginning, padding, the rest of each, so that answers follow at once."""
    width, pad = max(map(len, rest)), base.tokenizer.pad_token_id
    ids = [[*start, *[pad] * (width - len(row)), *row] for row in rest]
    there = [[1] * len(start) + [0] * (width - len(row)) + [1] * len(row) for row in rest]
    return torch.tensor(ids, device=base.device), torch.tensor(there, device=base.device)


def read_once(evaluated: EvaluatedModel, start: Sequence[int], rows: int) -> Any:
    """The cache after the beginning, for so many rows; None without one."""
    if not start:
        return None
    base = evaluated.base
    ids = torch.tensor([list(start)], device=base.device)
    with base.router.route([Slice(evaluated.adapter, 1, len(start))]), base.accelerator.autocast():
        cache = base.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=True).past_key_values
    cache.batch_repeat_interleave(rows)
    return cache


@torch.no_grad()
def exactly(evaluated: EvaluatedModel, ids: list[int], tokens: int) -> None:
    """Generate this many tokens after one prompt, whatever they are: for timing."""
    base = evaluated.base
    batch = torch.tensor([ids], device=base.device)
    with base.router.route([Slice(evaluated.adapter, 1, len(ids))]), base.accelerator.autocast():
        base.model.generate(  # type: ignore[operator]
            input_ids=batch,
            attention_mask=torch.ones_like(batch),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=base.tokenizer.pad_token_id,
            use_cache=True,
        )


def stop_tokens(base: LanguageBase) -> set[int]:
    """Ids at which an answer ends."""
    configured = getattr(base.model.generation_config, "eos_token_id", None)
    several = configured if isinstance(configured, list) else [configured]
    return {t for t in [*several, base.tokenizer.eos_token_id] if t is not None}


def _answer(row: list[int], stops: set[int], base: LanguageBase) -> Answer:
    end = next((i for i, t in enumerate(row) if t in stops), None)
    tokens = row if end is None else row[:end]
    return Answer(base.tokenizer.decode(tokens, skip_special_tokens=True).strip(), tuple(tokens), end is not None)


@torch.no_grad()
def log_probabilities(evaluated: EvaluatedModel, rows: Sequence[Tokens], batch_size: int = 8) -> Iterator[torch.Tensor]:
    """For each row in order: [label tokens, vocabulary] float32 log-probabilities, teacher-forced."""
    for _, values in in_batches(rows, batch_size, partial(_log_probabilities, evaluated), evaluated.base.say):
        yield from values


def _log_probabilities(evaluated: EvaluatedModel, rows: Sequence[Tokens]) -> Sequence[torch.Tensor]:
    batch = evaluated.base.pad(rows)
    logits = evaluated.base.logits(batch, [Slice(evaluated.adapter, batch.rows, batch.ids.shape[1])])
    return torch.log_softmax(logits, -1).split(batch.weights)


@torch.no_grad()
def nll(evaluated: EvaluatedModel, rows: Sequence[Tokens], batch_size: int = 8) -> list[float]:
    """Mean nats per label token of each row."""
    by_row: list[float] = []
    measure = lambda piece: row_losses(evaluated.base, evaluated.base.pad(piece), evaluated.adapter)  # noqa: E731
    for _, losses in in_batches(rows, batch_size, measure, evaluated.base.say):
        by_row += losses
    return by_row
