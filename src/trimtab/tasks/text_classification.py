"""Text classification: a text in, one of the data's labels out. Any encoder or decoder that transformers can put a
head on.

The base is the frozen encoder with the best linear head on it (frozen_probe.py): what a person has without any
tuning, and where a sentence encoder's runs begin. Other architectures begin with a head of random values, drawn from
the run's seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.behaviour.frozen_probe import CUTOFF, probe_of
from trimtab.behaviour.kept import KEEP
from trimtab.datasets.assets import cache_folder
from trimtab.datasets.encoded import Encoded
from trimtab.datasets.label_items import encoded, labels_in, table_lines, table_of
from trimtab.datasets.prepare import SPLITS, Dataset
from trimtab.errors import SpecError
from trimtab.facts.build import facts_of_examples
from trimtab.planning.facts import Facts
from trimtab.run.machine import Machine, accelerator
from trimtab.spec.recipe import Recipe
from trimtab.spec.workload import loop_precision
from trimtab.tasks import pretrained as models
from trimtab.tasks.classifier_base import ClassifierBase, load_classifier_base
from trimtab.tasks.label_learning import LabelLearning
from trimtab.tasks.task import Say
from trimtab.tasks.text_data import TextData

if TYPE_CHECKING:
    from trimtab.spec.budget import Budget
    from trimtab.spec.probe import Probe
    from trimtab.store import Store
    from trimtab.tasks.label_meter import LabelMeter
    from trimtab.tasks.task import Models


class TextClassification(TextData, LabelLearning):
    """The task "text-classification"."""

    forecast = True

    def read(self, data: str, say: Say) -> Dataset:
        """Without the examples that have no text: nothing could be learned from them but the commonest label."""
        dataset = super().read(data, say)
        kept = {s: [e for e in some if e.prompt[-1]["content"].strip()] for s, some in dataset.examples.items()}
        lost = sum(map(len, dataset.examples.values())) - sum(map(len, kept.values()))
        return replace(dataset, examples=kept, dropped=dataset.dropped + lost)

    def encode(self, dataset: Dataset, processor: Any, recipe: Recipe) -> Encoded:
        labels = labels_in(dataset)
        splits = {s: encoded(dataset.examples[s], processor, recipe.max_length, labels) for s in SPLITS}
        return Encoded(splits, table_of(dataset, labels, splits, recipe.max_length))

    def table_lines(self, table: Mapping[str, Any]) -> list[str]:
        return table_lines(table)

    def load_base(
        self, model: str, dataset: Dataset | None, processor: Any, full: bool, bf16: bool, device: str, say: Say
    ) -> ClassifierBase:
        if dataset is None:
            raise SpecError("this task", ["needs the labels of its data to load a model; name them"])
        dtype, autocast = loop_precision(full, bf16)
        labels, made = labels_in(dataset), accelerator(device, autocast)
        base = load_classifier_base(self, model, labels, processor, dtype, made, say)
        if base.pooled and base.drawn:
            base.say = say
            train, held_out = (encoded(dataset.examples[s], processor, CUTOFF, labels) for s in ("train", "validation"))
            probe = probe_of(base, train, held_out, cache_folder() / KEEP)
            base.start_from({"classifier.weight": probe.weight, "classifier.bias": probe.bias})
        return base

    def facts(
        self, model: str, data: str, dataset: Dataset, processor: Any, machine: Machine, fingerprint: str, say: Say
    ) -> Facts:
        train = dataset.examples["train"]
        counted = [(i.size, 1) for i in encoded(train, processor, None, labels_in(dataset))]
        about, named = models.architecture(model, say, body=True), Path(models.resolve(model, say)).name
        known = facts_of_examples(model, named, data, about, train, counted, machine, True, fingerprint)
        return replace(known, task="text-classification")

    def own_answers(self, base: ClassifierBase, dataset: Dataset, recipe: Recipe, say: Say) -> list[Any]:
        raise SpecError("the recipe", ["kl_weight and replay_share need a model that answers in words; leave them out"])

    def parameters(self, model: str, say: Say) -> int:
        return int(models.architecture(model, say, body=True)["parameters"])

    def meter(
        self,
        store: Store,
        models: Models,
        dataset: Dataset,
        budget: Budget,
        study: str | None,
        say: Say,
        own: Sequence[Probe],
    ) -> LabelMeter:
        from trimtab.tasks.label_meter import LabelMeter  # what it measures with is not needed to train

        return LabelMeter(store, models, dataset, budget, study, say, own)
