"""Image classification: a picture in, one of the data's labels out. Any network that transformers has an image
classifier of, and two small ones that come along.

The base is the frozen network with the best linear head on it (frozen_probe.py): what a person has without any
tuning, and where runs begin. `max_length` is the side of a picture, in pixels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trimtab.datasets import pictures
from trimtab.datasets.encoded import Encoded
from trimtab.datasets.label_items import balanced, labels_in
from trimtab.datasets.picture_items import Seen, items_of, table_lines, table_of
from trimtab.datasets.picture_sources import CHANGES, Picture
from trimtab.datasets.pictures import Pictures
from trimtab.errors import ModelError, TrimtabError
from trimtab.facts.build import facts_of_pictures
from trimtab.planning.facts import Facts
from trimtab.run.machine import Machine, accelerator
from trimtab.spec.recipe import Recipe
from trimtab.spec.workload import loop_precision
from trimtab.tasks import pretrained as models
from trimtab.tasks.classification import Classification, needs_labels
from trimtab.tasks.image_base import ImageBase, load_image_base, load_processor, side_of
from trimtab.tasks.image_learning import ImageLearning
from trimtab.tasks.task import Say


class ImageClassification(Classification, ImageLearning):
    """The task "image-classification"."""

    def read(self, data: str, say: Say) -> Pictures:
        return pictures.load(data, say)

    def near_copies(self, examples: Sequence[Picture]) -> list[int]:
        return pictures.near_copies(examples)

    def content(self, example: Picture) -> bytes:
        return f"{example.answer}/{example.digest}".encode()

    def identity(self, model: str, say: Say) -> str:
        return models.identity(model, say)

    def processor(self, model: str, say: Say) -> Any:
        return load_processor(model, say)

    def encode(self, dataset: Pictures, processor: Any, recipe: Recipe) -> Encoded:
        labels, side = labels_in(dataset), recipe.max_length
        splits = {s: items_of(some, side, labels) for s, some in dataset.examples.items()}
        splits["train"] = balanced(splits["train"])
        return Encoded(splits, table_of(dataset, side))

    def table_lines(self, table: Mapping[str, Any]) -> list[str]:
        return table_lines(table)

    def load_base(
        self, model: str, dataset: Pictures | None, processor: Any, full: bool, bf16: bool, device: str, say: Say
    ) -> ImageBase:
        if dataset is None:
            raise needs_labels()
        dtype, autocast = loop_precision(full, bf16)
        base = load_image_base(self, model, labels_in(dataset), processor, dtype, accelerator(device, autocast), say)
        if base.last is None:
            raise ModelError(f"{model} has no linear head; trimtab needs one to begin from")
        self.probed(base, dataset, say)
        return base

    def facts(
        self, model: str, data: str, dataset: Pictures, processor: Any, machine: Machine, fingerprint: str, say: Say
    ) -> Facts:
        about = models.architecture(model, say, body=True)
        return facts_of_pictures(model, data, about, dataset, side_of(processor), machine, fingerprint)

    def parameters(self, model: str, say: Say) -> int:
        return int(models.architecture(model, say, body=True)["parameters"])

    def profile(self, dataset: Pictures) -> dict[str, Any] | None:
        return None

    def texts(self, recipe: Recipe, ids: Collection[int], say: Say) -> dict[int, list[str]]:
        try:
            kept = self.read(recipe.data, say).examples["train"]
        except TrimtabError:
            return {}
        return {i: [kept[i].name, kept[i].answer] for i in sorted(ids) if i < len(kept)}

    def measured(
        self, examples: Sequence[Picture], _processor: Any, labels: Sequence[str], recipe: Recipe
    ) -> list[Seen]:
        return items_of(examples, recipe.max_length, labels)

    def measured_at(self, recipe: Recipe) -> int:
        return recipe.max_length

    def versions(self, example: Picture, language: str) -> list[Picture]:
        return [replace(example, change=change) for change in CHANGES]

    def shown(self, example: Picture) -> str:
        return example.name

    def spoken(self, dataset: Pictures, say: Say) -> str:
        return "en"
