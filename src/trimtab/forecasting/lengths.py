"""How long a recipe's examples really are: the longest batch, not the cutoff, sets the peak. Cached by what the
files are; estimated, as a plan estimates them, where the model's tokenizer cannot be had.

Loads the tokenizer (and with it torch) only when the data or the model have changed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from trimtab.datasets.estimate import MARGIN, Estimate
from trimtab.errors import TrimtabError
from trimtab.forecasting import cache
from trimtab.forecasting.source import locate
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
    """None where the data cannot be had now."""
    name = "lengths-2-" + _key(recipe)
    if kept := cache.load(name):
        return Lengths(**kept)
    try:
        measured = _measure(recipe)
    except (TrimtabError, OSError):
        return None
    cache.save(name, asdict(measured))
    return measured


def _measure(recipe: Recipe) -> Lengths:
    from trimtab.datasets.prepare import load, tokenise_dataset

    dataset, cutoff = load(recipe.data, say=_quiet), recipe.max_length
    tokenizer, margin = _tokenizer(recipe.model), 1.0
    if tokenizer:
        rows = [(t.size, t.weight) for t in tokenise_dataset(dataset, tokenizer, cutoff).splits["train"]]
    else:
        margin, estimate = MARGIN, Estimate(recipe.model, locate(recipe.model, _quiet).config.get("vocab_size"))
        whole = [estimate.lengths(e) for e in dataset.examples["train"]]
        rows = [(min(n, cutoff), max(1, min(a, cutoff - n + a))) for n, a in whole]
    longest = sorted(rows, reverse=True)[: recipe.per_device_train_batch_size]
    return Lengths(
        len(rows),
        min(cutoff, round(longest[0][0] * margin)),
        sum(n for n, _ in rows) / len(rows),
        max(1.0, sum(a for _, a in longest) / len(longest)),
        len({n for n, _ in longest}) > 1,
    )


def _tokenizer(model: str) -> Any:
    """None where it cannot be had."""
    from trimtab.tasks.pretrained import load_tokenizer

    try:
        return load_tokenizer(model, _quiet)
    except (TrimtabError, OSError):
        return None


def _quiet(_text: str) -> None:
    return None


def _key(recipe: Recipe) -> str:
    return f"{cache.of_files(recipe.model, recipe.data)}-{recipe.max_length}-{recipe.per_device_train_batch_size}"
