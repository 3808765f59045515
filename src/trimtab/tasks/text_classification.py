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
from typing import Any

from trimtab.behaviour import phrasing
from trimtab.datasets.encoded import Encoded
from trimtab.datasets.formats import Example
from trimtab.datasets.label_items import Labelled, balanced, encoded, labels_in, table_lines, table_of
from trimtab.datasets.prepare import SPLITS, Dataset
from trimtab.facts.build import facts_of_examples
from trimtab.planning.facts import Facts
from trimtab.run.machine import Machine, accelerator
from trimtab.spec.recipe import Recipe
from trimtab.spec.workload import loop_precision
from trimtab.tasks import pretrained as models
from trimtab.tasks.classification import Classification, needs_labels
from trimtab.tasks.classifier_base import ClassifierBase, load_classifier_base
from trimtab.tasks.label_learning import LabelLearning
from trimtab.tasks.task import Say
from trimtab.tasks.text_data import TextData

CUTOFF = 512  # tokens of a text that is measured, whatever a run was trained with


class TextClassification(Classification, TextData, LabelLearning):
    """The task "text-classification"."""

    def read(self, data: str, say: Say) -> Dataset:
        """Without the examples that have no text: nothing could be learned from them but the commonest label."""
        dataset = super().read(data, say)
        kept = {s: [e for e in some if e.prompt[-1]["content"].strip()] for s, some in dataset.examples.items()}
        lost = sum(map(len, dataset.examples.values())) - sum(map(len, kept.values()))
        return replace(dataset, examples=kept, dropped=dataset.dropped + lost)

    def encode(self, dataset: Dataset, processor: Any, recipe: Recipe) -> Encoded:
        labels = labels_in(dataset)
        splits = {s: encoded(dataset.examples[s], processor, recipe.max_length, labels) for s in SPLITS}
        splits["train"] = balanced(splits["train"])
        return Encoded(splits, table_of(dataset, labels, splits, recipe.max_length))

    def table_lines(self, table: Mapping[str, Any]) -> list[str]:
        return table_lines(table)

    def load_base(
        self, model: str, dataset: Dataset | None, processor: Any, full: bool, bf16: bool, device: str, say: Say
    ) -> ClassifierBase:
        if dataset is None:
            raise needs_labels()
        dtype, autocast = loop_precision(full, bf16)
        made = accelerator(device, autocast)
        base = load_classifier_base(self, model, labels_in(dataset), processor, dtype, made, say)
        return self.probed(base, dataset, say)

    def facts(
        self, model: str, data: str, dataset: Dataset, processor: Any, machine: Machine, fingerprint: str, say: Say
    ) -> Facts:
        train = dataset.examples["train"]
        counted = [(i.size, 1) for i in encoded(train, processor, None, labels_in(dataset))]
        about, named = models.architecture(model, say, body=True), Path(models.resolve(model, say)).name
        known = facts_of_examples(model, named, data, about, train, counted, machine, True, fingerprint)
        return replace(known, task="text-classification")

    def parameters(self, model: str, say: Say) -> int:
        return int(models.architecture(model, say, body=True)["parameters"])

    def measured(
        self, examples: Sequence[Example], processor: Any, labels: Sequence[str], _recipe: Recipe
    ) -> list[Labelled]:
        return encoded(examples, processor, CUTOFF, labels)

    def measured_at(self, recipe: Recipe) -> int:
        return CUTOFF

    def versions(self, example: Example, language: str) -> list[Example]:
        *before, last = example.prompt
        answer = example.messages[-1]
        texts = phrasing.variants(last["content"], language)
        return [Example((*before, {**last, "content": text}, answer)) for text in texts]

    def shown(self, example: Example) -> str:
        return example.messages[-2]["content"]

    def spoken(self, dataset: Dataset, say: Say) -> str:
        from trimtab.tasks.chat_meter import language_of

        return language_of(dataset, say) or "en"
