"""Tasks whose answers are labels: what two models predict of each label, compared item by item. Takes a task and
evaluated_models.

A language model is read as a classifier: each label is scored as its whole answer, nothing is generated; a model
with a classification head (classifier.py) gives the same. What they saw is their last state before the answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from trimtab.behaviour import phrasing
from trimtab.behaviour.answering import EvaluatedModel
from trimtab.behaviour.kept import identity, remembered
from trimtab.behaviour.likelihoods import log_likelihoods
from trimtab.behaviour.pair_responses import Raw, choices, fragility, pick
from trimtab.datasets.formats import Example, Message
from trimtab.datasets.survey import labels_of
from trimtab.datasets.tokens import prompt_ids

EXAMPLES, REPHRASED, STATES = 200, 60, 100
LABEL_CHANGES = (
    "label_accuracy",
    "label_f1",
    "label_mcc",
    "label_auroc",
    "label_worst_class",
    "label_brier",
    "label_confident_wrong",
    "label_fragility",
)


@dataclass(frozen=True)
class LabelTask:
    """`truth[i]` is the place of the i-th prompt's label in `labels`."""

    labels: tuple[str, ...]
    prompts: tuple[tuple[Message, ...], ...]
    truth: tuple[int, ...]
    language: str = "en"  # of the changes in phrasing

    @property
    def rephrased(self) -> list[list[tuple[Message, ...]]]:
        """Of each of the first prompts, five versions that mean the same."""
        return [
            [_said(p, v) for v in phrasing.variants(p[-1]["content"], self.language)] for p in self.prompts[:REPHRASED]
        ]


def _said(prompt: tuple[Message, ...], text: str) -> tuple[Message, ...]:
    return (*prompt[:-1], {**prompt[-1], "content": text})


def label_task_of(train: Sequence[Example], held_out: Sequence[Example], language: str | None) -> LabelTask | None:
    """None where the answers are no labels, see datasets/survey.labels_of."""
    counts = labels_of(train)
    if counts is None:
        return None
    labels = tuple(sorted(counts))
    known = [e for e in held_out if e.answer.strip() in counts]
    some = [known[i * len(known) // EXAMPLES] for i in range(EXAMPLES)] if len(known) > EXAMPLES else known
    truth = tuple(labels.index(e.answer.strip()) for e in some)
    return LabelTask(labels, tuple(tuple(e.prompt) for e in some), truth, language or "en") if some else None


@dataclass(frozen=True)
class Predictions:
    """`probabilities` [items][labels]; `rephrased` [items][versions][labels]; `states` [items][width] before the
    answer."""

    probabilities: list[list[float]]
    rephrased: list[list[list[float]]]
    states: list[list[float]]


def predict(evaluated: EvaluatedModel, task: LabelTask, keep: Path | None = None) -> Predictions:
    """What a language model thinks of each label; `keep` remembers it, for a base without adapter that many are
    compared with."""
    keep = None if evaluated.adapter else keep
    who = identity(evaluated) if keep else ""
    called = "base" if keep else "tuned"
    return Predictions(**remembered(keep, "labels", who, task, lambda: asdict(_think(evaluated, task, called))))


def _think(evaluated: EvaluatedModel, task: LabelTask, called: str) -> Predictions:
    evaluated.base.say(f"Asking the {called} model for the labels of {len(task.prompts)} examples")
    tokenizer = evaluated.base.tokenizer
    ends = [[*tokenizer(x, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for x in task.labels]

    def ask(prompts: Sequence[Sequence[Message]]) -> list[list[float]]:
        return [
            _softmax(r)
            for r in log_likelihoods(evaluated, [prompt_ids(p, tokenizer) for p in prompts], [ends] * len(prompts))
        ]

    versions = task.rephrased
    rows = iter(ask([v for some in versions for v in some]))
    seen = [_state(evaluated, prompt_ids(p, tokenizer)) for p in task.prompts[:STATES]]
    return Predictions(ask(task.prompts), [[next(rows) for _ in some] for some in versions], seen)


@torch.no_grad()
def _state(evaluated: EvaluatedModel, ids: list[int]) -> list[float]:
    """What goes into the head at the last token of the prompt."""
    caught: list[torch.Tensor] = []
    head = evaluated.base.model.get_output_embeddings()  # type: ignore[operator]
    hook = head.register_forward_pre_hook(lambda _m, inputs: caught.append(inputs[0]))
    try:
        log_likelihoods(evaluated, [ids], [[[evaluated.base.tokenizer.eos_token_id]]])
    finally:
        hook.remove()
    return [round(v, 5) for v in caught[0].flatten(0, -2)[-1].float().tolist()]


def _softmax(values: Sequence[float]) -> list[float]:
    return [float(p) for p in torch.softmax(torch.tensor(values, dtype=torch.float64), -1)]


def compare(base: Predictions | None, tuned: Predictions, task: LabelTask) -> Raw:
    """Raw numbers by item. Without a base that knows the labels only the tuned side is there, and no change."""
    raw: Raw = {"label_truth": [float(t) for t in task.truth]}
    sides = {"base": base, "tuned": tuned} if base and base.probabilities else {"tuned": tuned}
    for name, side in sides.items():
        picks = [pick(p) for p in side.probabilities]
        raw[f"label_pick_{name}"] = [float(p) for p in picks]
        raw[f"label_probabilities_{name}"] = [round(v, 5) for p in side.probabilities for v in p]  # a row an item
        for i, label in enumerate(task.labels):
            rows = [float(p == t) for p, t in zip(picks, task.truth, strict=True) if t == i]
            if rows:
                raw[f"class-{label}_{name}"] = rows
        for key, values in {
            **choices(_right_first(side.probabilities, task)),
            **fragility(_with_plain(side, task)),
        }.items():
            raw[f"label_{key}_{name}"] = values
    if base and base.states:
        raw["representation_drift"] = moved(base.states, tuned.states)
    return raw


def _right_first(rows: Sequence[Sequence[float]], task: LabelTask) -> list[list[float]]:
    return [[p[t], *p[:t], *p[t + 1 :]] for p, t in zip(rows, task.truth, strict=False)]


def _with_plain(side: Predictions, task: LabelTask) -> list[list[list[float]]]:
    """Each rephrased item's plain version first, the right label first in each."""
    return [
        _right_first([plain, *others], LabelTask(task.labels, (), (t,) * (len(others) + 1)))
        for plain, others, t in zip(side.probabilities, side.rephrased, task.truth, strict=False)
        if others
    ]


def moved(base: Sequence[Sequence[float]], tuned: Sequence[Sequence[float]]) -> list[float]:
    """1 − cosine of each item's two states, seen from the base's mean state: what all items share says nothing of
    any."""
    a, b = torch.tensor(base, dtype=torch.float64), torch.tensor(tuned, dtype=torch.float64)
    if a.shape != b.shape or len(a) < 2:
        return []
    centre = a.mean(0)
    return [
        max(0.0, v) for v in (1 - torch.cosine_similarity(a - centre, b - centre, dim=1)).tolist() if math.isfinite(v)
    ]
