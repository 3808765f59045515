"""What the tasks on texts have in common: how they read data, tell copies apart, and show an example."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from trimtab.datasets.formats import Example
from trimtab.datasets.prepare import Dataset, load
from trimtab.datasets.similarity import profile
from trimtab.errors import TrimtabError
from trimtab.spec.recipe import Recipe
from trimtab.tasks import pretrained as models
from trimtab.tasks.task import Say


class TextData:
    """A half of a `Task`: examples are conversations, of which a labelled text is the shortest."""

    def read(self, data: str, say: Say) -> Dataset:
        return load(data, say=say)

    def near_copies(self, examples: Sequence[Example]) -> list[int]:
        """By near-duplicates, as the split has them."""
        from trimtab.datasets.duplicates import near_duplicates

        groups = enumerate(near_duplicates([e.text for e in examples]))
        of = {i: group for group, members in groups for i in members}
        return [of[i] for i in range(len(examples))]

    def content(self, example: Example) -> bytes:
        return json.dumps(example.messages).encode()

    def identity(self, model: str, say: Say) -> str:
        return models.identity(model, say)

    def processor(self, model: str, say: Say) -> Any:
        return models.load_tokenizer(model, say)

    def profile(self, dataset: Dataset) -> dict[str, Any] | None:
        return profile(dataset.examples["train"])

    def learned(self, dataset: Dataset, recipe: Recipe, say: Say) -> Sequence[Example]:
        """The training examples that a run numbers, in order."""
        return dataset.examples["train"]

    def texts(self, recipe: Recipe, ids: Collection[int], say: Say) -> dict[int, list[str]]:
        try:
            kept = self.learned(self.read(recipe.data, say), recipe, say)
        except TrimtabError:
            return {}
        return {i: [kept[i].messages[-2]["content"], kept[i].answer] for i in sorted(ids) if i < len(kept)}
