"""Labelled pictures as a network takes them: by size, label and what is drawn anew each time. No torch; no pixel is
read here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trimtab.datasets.label_items import labels_line
from trimtab.datasets.picture_sources import Picture
from trimtab.datasets.pictures import Pictures, sizes

SMALL = 64  # pixels a side, below which a network that was trained on photographs sees little


@dataclass(frozen=True)
class Varied:
    """What is done to a picture this once: drawn from `draw`; shares as torchvision counts them."""

    draw: int
    random_crop: float
    random_flip: bool
    color_jitter: float


@dataclass(frozen=True)
class Mixed:
    """`share` of the picture and its label stay, the rest is of `other`; `box` (top, left, bottom, right) in pixels
    where a part is cut out and filled, None where the two are blended."""

    other: Seen
    share: float
    box: tuple[int, int, int, int] | None


@dataclass(frozen=True)
class Seen:
    """A picture of `size` pixels a side, and the place of its label. `smoothing`: share of the truth that is given to
    all labels alike; `scale`, `balance` as in label_items.Labelled."""

    picture: Picture | None  # None in a forecast, which has no pixels
    label: int
    size: int
    weight: int = 1
    varied: Varied | None = None
    mixed: Mixed | None = None
    smoothing: float = 0.0
    balance: float = 1.0
    scale: float = 1.0

    @property
    def key(self) -> tuple[Any, ...]:
        picture = self.picture
        return (picture.digest, picture.change, self.size, self.varied, self.mixed) if picture else ()


def items_of(pictures: Sequence[Picture], side: int, labels: Sequence[str]) -> list[Seen]:
    place = {label: i for i, label in enumerate(labels)}
    return [Seen(p, place[p.answer], side) for p in pictures]


def table_of(dataset: Pictures, side: int) -> dict[str, Any]:
    """What was read, as data: the report and the terminal draw it."""
    train = dataset.examples["train"]
    counts = Counter(p.answer for p in train)
    return {
        "name": dataset.name,
        "form": dataset.form,
        "examples": {s: len(p) for s, p in dataset.examples.items()},
        "dropped_empty": dataset.dropped,
        "split": dataset.how_split,
        "labels": dict(counts.most_common()),
        "tokens": side * len(train),
        "max_length": side,
        "sizes": sizes(train),
        "rows": [
            ["form", f"{dataset.form}; split {dataset.how_split}"],
            ["examples", ", ".join(f"{len(p):,} {s}" for s, p in dataset.examples.items())],
            ["labels", ", ".join(f"{label} {n:,}" for label, n in counts.most_common(20))],
            ["pictures", f"{sizes(train)} pixels, given to the network as {side} × {side}"],
        ],
    }


def table_lines(table: Mapping[str, Any]) -> list[str]:
    """The table for a terminal, a line each."""
    counts = ", ".join(f"{n:,} {split}" for split, n in table["examples"].items())
    lost = f"; left out {table['dropped_empty']:,} that cannot be read" if table["dropped_empty"] else ""
    side = table["max_length"]
    return [
        f"Read {table['name']}: {table['form']}; {counts} pictures ({table['split']}){lost}",
        labels_line(table["labels"]),
        f"  {table['sizes']} pixels, given to the network as {side} × {side}"
        + (f"; {_little(side)}" if side < SMALL else ""),
    ]


def _little(side: int) -> str:
    return (
        f"{side} pixels are little for a network that halves them five times: max_length={SMALL} or more makes them"
        " larger first (docs/images.md has what that brought)"
    )
