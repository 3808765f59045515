"""A trained classifier at work: texts or pictures in, probabilities of its labels out. Takes a run's recipe and
weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from trimtab.behaviour.frozen_probe import read
from trimtab.datasets.label_items import Labelled, ids_of
from trimtab.datasets.picture_items import Seen
from trimtab.errors import RunError, SpecError
from trimtab.run.checkpoint import load_adapter
from trimtab.run.machine import Machine, accelerator
from trimtab.spec.recipe import Recipe
from trimtab.spec.words import CLASSIFIERS
from trimtab.spec.workload import loop_precision
from trimtab.tasks import pretrained as models
from trimtab.tasks.classifier_base import ClassifierBase, load_classifier_base
from trimtab.tasks.image_base import load_image_base, load_processor
from trimtab.tasks.image_learning import ImageLearning
from trimtab.tasks.label_learning import LabelLearning
from trimtab.tasks.task import Say


@dataclass(frozen=True)
class Predicted:
    """`probabilities` [given][labels]."""

    labels: tuple[str, ...]
    probabilities: list[list[float]]


def predict(recipe: Recipe, best: Path, given: Sequence[Any], machine: Machine, say: Say) -> Predicted:
    """Of texts, cut at the recipe's max_length as it was trained, or of pictures in the size that it was trained with.
    SpecError for a run that is no classifier, RunError for one that left no weights."""
    if recipe.task not in CLASSIFIERS:
        raise SpecError(f"run {recipe.run_id}", [f"learned {recipe.task}, not labels; predict is for classifiers"])
    if not best.exists():
        raise RunError(f"run {recipe.run_id} has no saved weights in {best}; train it to its end first")
    labels, full = _labels(best), not (best / "adapter_config.json").exists()
    dtype, autocast = loop_precision(full, machine.in_bf16(recipe.bf16))
    model, made = str(best) if full else recipe.model, accelerator(machine.device, autocast)
    base: ClassifierBase
    if recipe.task == "text-classification":
        tokenizer = models.load_tokenizer(recipe.model, say)
        base = load_classifier_base(LabelLearning(), model, labels, tokenizer, dtype, made, say)
        ids = ids_of(given, tokenizer, recipe.max_length)
        items: list[Any] = [Labelled(tuple(i), 0) for i in ids]
    else:
        processor = load_processor(recipe.model, say)
        base = load_image_base(ImageLearning(), model, labels, processor, dtype, made, say)
        items = [Seen(picture, 0, recipe.max_length) for picture in given]
    adapter = None if full else load_adapter(best, base)
    return Predicted(labels, read(base, adapter, items).probabilities)


def _labels(best: Path) -> tuple[str, ...]:
    beside = best / "labels.json"
    if beside.exists():
        return tuple(json.loads(beside.read_text(encoding="utf-8")))
    names = AutoConfig.from_pretrained(best).id2label
    return tuple(names[i] for i in sorted(names))
