"""Train / validation / test, seeded, near-duplicates always on the same side. Takes examples, gives three lists of indices."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from dataclasses import dataclass

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


def near_duplicates(texts: list[str], threshold: float = 0.8) -> list[list[int]]:
    """Clusters of indices whose character 5-grams overlap by about `threshold` (MinHash, 64 permutations)."""
    from datasketch import MinHash, MinHashLSH

    exact: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        exact[_normal(text)].append(i)
    index = MinHashLSH(threshold=threshold, num_perm=64)
    parent: dict[str, str] = {}
    for key in exact:
        grams = {key[j : j + 5].encode() for j in range(max(1, len(key) - 4))}
        print_ = MinHash(num_perm=64, seed=1)
        print_.update_batch(list(grams))
        parent[key] = key
        for other in index.query(print_):
            parent[_root(parent, other)] = _root(parent, key)
        index.insert(key, print_, check_duplication=False)
    clusters: dict[str, list[int]] = defaultdict(list)
    for key, members in exact.items():
        clusters[_root(parent, key)] += members
    return sorted(sorted(c) for c in clusters.values())


def _normal(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.lower()).strip()


def _root(parent: dict[str, str], key: str) -> str:
    while parent[key] != key:
        parent[key] = parent[parent[key]]
        key = parent[key]
    return key
