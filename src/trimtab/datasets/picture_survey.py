"""The report on pictures: labels, sizes, copies, what leaks between the splits, and what to do about it. Takes a data
set that was read, gives plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.datasets.label_items import labels_in
from trimtab.datasets.picture_sources import Picture
from trimtab.datasets.pictures import Pictures, near_copies, sizes
from trimtab.errors import DataError

FEW = 10  # pictures of a label: what is measured of it is mostly chance
UNEVEN = 10  # times as many of the commonest as of the rarest


def survey(dataset: Pictures) -> dict[str, Any]:
    """{"pictures": True, "examples", "labels", "sizes", "copies", "leakage", "advice", …}."""
    train = dataset.examples["train"]
    counts = Counter(p.answer for p in train)
    groups = Counter(near_copies(train))
    exact = len(train) - len({p.digest for p in train})
    contrary = _contrary(train)
    leakage = {s: _leaked(train, dataset.examples[s]) for s in ("validation", "test")}
    return {
        "pictures": True,
        "name": dataset.name,
        "form": dataset.form,
        "split": dataset.how_split,
        "examples": {s: len(p) for s, p in dataset.examples.items()},
        "dropped": dataset.dropped,
        "labels": dict(counts.most_common()),
        "sizes": sizes(train),
        "exact_copies": exact,
        "near_copies": sum(n - 1 for n in groups.values()),
        "contrary": contrary,
        "leakage": leakage,
        "advice": [*_refused(dataset), *_advice(counts, train, leakage, contrary)],
        "estimated": False,
    }


def _refused(dataset: Pictures) -> list[str]:
    """Why no classifier would be trained on these labels."""
    try:
        labels_in(dataset)
    except DataError as error:
        return [str(error)]
    return []


def _leaked(train: Sequence[Picture], held_out: Sequence[Picture]) -> float:
    groups = near_copies([*train, *held_out])
    seen = set(groups[: len(train)])
    return sum(g in seen for g in groups[len(train) :]) / max(1, len(held_out))


def _contrary(train: Sequence[Picture]) -> list[list[str]]:
    """Pictures of equal content with different labels: one of them is wrong. [name, label, name, label]."""
    first: dict[str, Picture] = {}
    found = []
    for p in train:
        other = first.setdefault(p.digest, p)
        if other.answer != p.answer:
            found.append([other.name, other.answer, p.name, p.answer])
    return found


def _advice(
    counts: Mapping[str, int],
    train: Sequence[Picture],
    leakage: Mapping[str, float],
    contrary: Sequence[Sequence[str]],
) -> list[str]:
    said = []
    few = [f"{label} ({n})" for label, n in counts.items() if n < FEW]
    if few:
        said.append(f"few pictures of {', '.join(few[:5])}: what is measured of them is mostly chance; add some")
    most, least = max(counts.values()), min(counts.values())
    if most > UNEVEN * least:
        said.append(
            f"the commonest label has {most / least:.0f} times as many pictures as the rarest: look at the accuracy of"
            " each label in the card, not at the mean alone"
        )
    said += [
        f"{share:.0%} of {split} look like training pictures: what is measured there is memory; take them out of one"
        for split, share in leakage.items() if share > 0.01
    ]  # fmt: skip
    if contrary:
        said.append(
            f"{len(contrary)} pictures stand under two labels ({contrary[0][0]} and {contrary[0][2]}): mend them"
        )
    largest = max(max(p.width, p.height) for p in train)
    if largest < 64:
        said.append(
            f"the largest has {largest} pixels a side: networks that learned from photographs see little in so few, so"
            " they are made larger first (max_length, pixels a side)"
        )
    return said
