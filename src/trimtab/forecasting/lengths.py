"""How long a recipe's examples really are: the longest batch, not the cutoff, sets the peak. Cached by what the
files are.

Loads the tokenizer (and with it torch) only when the data or the model have changed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from trimtab.errors import TrimtabError
from trimtab.forecasting import cache
from trimtab.spec.recipe import Recipe


@dataclass(frozen=True)
class Lengths:
    """Tokens after the cutoff, of the examples to train on."""

    examples: int
    longest: int
    mean: float
    labels: float  # a row of the longest micro-batch
    padded: bool  # whether those rows differ in length

    def as_workload(self) -> dict[str, Any]:
        return {"examples": self.examples, "max_length": max(1, self.longest), "mean_length": self.mean,
                "labels": self.labels, "padded": self.padded}  # fmt: skip


def lengths(recipe: Recipe) -> Lengths | None:
    """None where the data or the model's tokenizer cannot be had now."""
    name = "lengths-" + _key(recipe)
    if found := cache.load(name):
        return Lengths(**found)
    try:
        measured = _measure(recipe)
    except (TrimtabError, OSError):
        return None
    cache.save(name, asdict(measured))
    return measured


def _measure(recipe: Recipe) -> Lengths:
    from trimtab.datasets.prepare import load, tokenise_dataset
    from trimtab.tasks.pretrained import load_tokenizer

    def quiet(_text: str) -> None:
        return None

    dataset = load(recipe.data, say=quiet)
    rows = tokenise_dataset(dataset, load_tokenizer(recipe.model, quiet), recipe.max_length).splits["train"]
    longest = sorted(rows, key=lambda t: -len(t.ids))[: recipe.per_device_train_batch_size]
    return Lengths(
        len(rows), len(longest[0].ids), sum(len(t.ids) for t in rows) / len(rows),
        max(1.0, sum(t.weight for t in longest) / len(longest)), len({len(t.ids) for t in longest}) > 1,
    )  # fmt: skip


def _key(recipe: Recipe) -> str:
    return f"{cache.of_files(recipe.model, recipe.data)}-{recipe.max_length}-{recipe.per_device_train_batch_size}"
