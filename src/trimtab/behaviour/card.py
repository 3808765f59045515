"""The card's raw numbers: a tuned model beside its base, item by item. Takes two subjects and a data set, gives plain lists.

Intervals and verdicts are analysis/card.py's business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trimtab.behaviour.drift import Reference, as_messages, full_drift
from trimtab.behaviour.probes import CARD_TOKENS
from trimtab.behaviour.scoring import degenerate, exact, overlap, parse_json, word_count
from trimtab.behaviour.subject import Answer, Subject, answers
from trimtab.data.formats import Example
from trimtab.data.tokens import prompt_ids
from trimtab.errors import DataError


@dataclass(frozen=True)
class Task:
    """The held-out examples a model is asked, and how its answers are scored."""

    examples: tuple[Example, ...]
    as_json: bool
    max_new_tokens: int

    @property
    def metric(self) -> str:
        """Exact match where there is one right answer (JSON, or at most 8 words); else overlap with the reference."""
        lengths = sorted(word_count(e.answer) for e in self.examples)
        return "exact_match" if self.as_json or lengths[len(lengths) // 2] <= 8 else "overlap"


def task_of(
    examples: Sequence[Example], as_json: bool, tokenizer: Any, positions: int | None = None, most: int = 60
) -> Task:
    """At most `most` examples, evenly drawn from those that leave the model room to answer; room for 1.5 times the longest
    reference (up to 256 tokens)."""
    examples = [e for e in examples if positions is None or len(prompt_ids(e.prompt, tokenizer)) <= positions - 256]
    if not examples:
        raise DataError(
            f"every test prompt is longer than the model can read ({positions:,} tokens); shorten the prompts"
        )
    count = min(most, len(examples))
    chosen = tuple(examples[i * len(examples) // count] for i in range(count))
    longest = max(len(tokenizer(e.answer, add_special_tokens=False)["input_ids"]) for e in chosen)
    return Task(chosen, as_json, min(256, math.ceil(1.5 * longest) + 2))


def task_numbers(said: Sequence[Answer], task: Task) -> dict[str, list[float]]:
    """Per item: exact match, overlap with the reference, and (JSON tasks) whether the answer parses."""
    numbers = {
        "exact_match": [exact(a.text, e.answer, task.as_json) for a, e in zip(said, task.examples, strict=True)],
        "overlap": [overlap(a.text, e.answer, task.as_json) for a, e in zip(said, task.examples, strict=True)],
    }
    if task.as_json:
        numbers["format_validity"] = [float(parse_json(a.text) is not None) for a in said]
    return numbers


def ask_task(subject: Subject, task: Task) -> list[Answer]:
    return answers(subject, [e.prompt for e in task.examples], task.max_new_tokens)


def cost(task: Task, prompts: int) -> float:
    """What a card takes, in units of one model's task answers: base's and tuned model's answers to the prompts, and drift."""
    drift = 5000  # measured on the bundled model, in the units of _work
    return (drift + 2 * _work(prompts, CARD_TOKENS)) / _work(len(task.examples), task.max_new_tokens)


def _work(answers: int, tokens: int) -> int:
    """A step of generation costs as much as 35 rows whatever the rows, and then each row (measured with 8 to 64 rows)."""
    return tokens * (35 * math.ceil(answers / 64) + answers)


def generic_numbers(base: Subject, tuned: Subject, ref: Reference) -> tuple[dict[str, list[float]], list[Answer]]:
    """Drift, length and degeneration on the generic prompts, and the tuned model's answers to them."""
    said = answers(tuned, as_messages(ref.prompts), CARD_TOKENS)
    numbers = {
        **full_drift(base, tuned, ref),
        "log_length_ratio": log_length_ratios(ref.answers, said),
        "degenerate_base": [float(degenerate(a.text)) for a in ref.answers],
        "degenerate_tuned": [float(degenerate(a.text)) for a in said],
        "cut_base": [float(not a.ended) for a in ref.answers],
        "cut_tuned": [float(not a.ended) for a in said],
    }
    return numbers, said


def log_length_ratios(base: Sequence[Answer], tuned: Sequence[Answer]) -> list[float]:
    """ln(tuned / base) of the answers' tokens; two that were both cut at the limit say nothing and are left out."""
    pairs = [(b, t) for b, t in zip(base, tuned, strict=True) if b.ended or t.ended]
    return [math.log(max(1, len(t.tokens)) / max(1, len(b.tokens))) for b, t in pairs]
