"""Train / validation / test, seeded, near-duplicates always on the same side. Takes examples, gives three lists of indices."""

from __future__ import annotations

import random
from dataclasses import dataclass

from trimtab.data.duplicates import near_duplicates
from trimtab.data.formats import Example


@dataclass(frozen=True)
class Split:
    train: list[int]
    validation: list[int]
    test: list[int]
    groups: int  # clusters of near-duplicates


def split(examples: list[Example], seed: int = 0, share: float = 0.1, most: int = 200, least: int = 8) -> Split:
    """Whole groups go to validation and then test until each holds `share` of the examples (between `least` and `most`)."""
    groups = near_duplicates([e.text for e in examples])
    random.Random(seed).shuffle(groups)
    want = min(most, max(least, round(share * len(examples))))
    # small groups first: a large family of near-copies belongs into training
    groups.sort(key=len)
    parts: dict[str, list[int]] = {"validation": [], "test": [], "train": []}
    for group in groups:
        for side in ("validation", "test", "train"):
            room = want - len(parts[side]) if side != "train" else len(examples)
            if len(group) <= room:
                parts[side] += group
                break
    return Split(sorted(parts["train"]), sorted(parts["validation"]), sorted(parts["test"]), len(groups))
