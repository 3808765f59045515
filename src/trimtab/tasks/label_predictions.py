"""A trained classifier at work: texts in, probabilities of its labels out. Takes a run's recipe and weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoConfig

from trimtab.behaviour.frozen_probe import read
from trimtab.datasets.label_items import Labelled
from trimtab.errors import RunError, SpecError
from trimtab.run.checkpoint import load_adapter
from trimtab.run.machine import Machine, accelerator
from trimtab.spec.recipe import Recipe
from trimtab.spec.workload import loop_precision
from trimtab.tasks import pretrained as models
from trimtab.tasks.classifier_base import load_classifier_base
from trimtab.tasks.label_learning import LabelLearning
from trimtab.tasks.task import Say

TASK = "text-classification"


@dataclass(frozen=True)
class Predicted:
    """`probabilities` [texts][labels]."""

    labels: tuple[str, ...]
    probabilities: list[list[float]]


def predict(recipe: Recipe, best: Path, texts: Sequence[str], machine: Machine, say: Say) -> Predicted:
    """Cut at the recipe's max_length, as it was trained. SpecError for a run that is no classifier, RunError for one
    that left no weights."""
    if recipe.task != TASK:
        raise SpecError(f"run {recipe.run_id}", [f"learned {recipe.task}, not labels; predict is for {TASK}"])
    if not best.exists():
        raise RunError(f"run {recipe.run_id} has no saved weights in {best}; train it to its end first")
    labels = _labels(best)
    full = recipe.method == "full"
    dtype, autocast = loop_precision(full, machine.in_bf16(recipe.bf16))
    tokenizer, made = models.load_tokenizer(recipe.model, say), accelerator(machine.device, autocast)
    model = str(best) if full else recipe.model
    base = load_classifier_base(LabelLearning(), model, labels, tokenizer, dtype, made, say)
    adapter = None if full else load_adapter(best, base)
    ids = tokenizer(list(texts), truncation=True, max_length=recipe.max_length)["input_ids"]
    return Predicted(labels, read(base, adapter, [Labelled(tuple(i), 0) for i in ids]).probabilities)


def _labels(best: Path) -> tuple[str, ...]:
    beside = best / "labels.json"
    if beside.exists():
        return tuple(json.loads(beside.read_text(encoding="utf-8")))
    names = AutoConfig.from_pretrained(best).id2label
    return tuple(names[i] for i in sorted(names))
