"""Train / validation / test, seeded, near-duplicates always on the same side. Takes examples, gives three lists of
indices."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from trimtab.datasets.formats import Example


@dataclass(frozen=True)
class Split:
    """Indices of examples by side."""

    train: list[int]
    validation: list[int]
    test: list[int]
    groups: int  # clusters of near-duplicates


SHARE, LEAST, MOST = 0.1, 8, 200  # of the examples, for validation and for test each


def each_side(examples: int) -> int:
    """How many examples validation and test each take of so many."""
    return min(MOST, max(LEAST, round(SHARE * examples)))


def set_aside(examples: Mapping[str, int]) -> int:
    """What validation and test take of the training examples, by the counts of the splits that are given."""
    return sum(each_side(examples["train"]) for side in ("validation", "test") if side not in examples)


def split(examples: list[Example], seed: int = 0) -> Split:
    """Whole groups of near-duplicates go to validation and then test until each holds its share of the examples."""
    from trimtab.datasets.duplicates import near_duplicates  # numpy: who only asks how many are set aside needs none

    return divide(near_duplicates([e.text for e in examples]), len(examples), seed)


def divide(groups: list[list[int]], examples: int, seed: int) -> Split:
    """Groups of indices, each whole on one side."""
    random.Random(seed).shuffle(groups)
    want = each_side(examples)
    # small groups first: a large family of near-copies belongs into training
    groups.sort(key=len)
    parts: dict[str, list[int]] = {"validation": [], "test": [], "train": []}
    for group in groups:
        for side in ("validation", "test", "train"):
            room = want - len(parts[side]) if side != "train" else examples
            if len(group) <= room:
                parts[side] += group
                break
    return Split(sorted(parts["train"]), sorted(parts["validation"]), sorted(parts["test"]), len(groups))
