"""Exact and near copies among texts. Takes texts, gives clusters of indices; no text is read twice.

MinHash over character 5-grams (rensa does the hashing), bands to find candidates, and the share of equal hashes to
check them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

PERMUTATIONS = 64  # an overlap is known to ±0.05
BANDS, ROWS = 10, 6  # finds 95 % of the pairs that overlap by 0.8, and looks at 15 % of those by 0.5
THRESHOLD = 0.8
CHUNK = 4096
Progress = Callable[[str, int, int], None]


def near_duplicates(
    texts: Sequence[str], threshold: float = THRESHOLD, progress: Progress | None = None
) -> list[list[int]]:
    """Clusters of indices, singles included, whose 5-grams overlap by about `threshold`; capitals and punctuation do
    not count."""
    exact = same(texts)
    keys = list(exact)
    sketches = _sketches(keys, progress)
    parent = list(range(len(keys)))
    for group in _candidates(sketches):
        while len(group) > 1:
            leader, rest = group[0], group[1:]
            alike = (sketches[rest] == sketches[leader]).mean(axis=1) >= threshold
            for other in rest[alike]:
                parent[_root(parent, int(other))] = _root(parent, int(leader))
            group = rest[~alike]
    clusters: dict[int, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        clusters[_root(parent, i)] += exact[key]
    return sorted(sorted(c) for c in clusters.values())


def same(texts: Sequence[str]) -> dict[str, list[int]]:
    """Indices by text without capitals and punctuation."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        groups[_normal(text)].append(i)
    return groups


def _sketches(keys: Sequence[str], progress: Progress | None) -> np.ndarray:
    """(texts, permutations) of hashes."""
    from rensa import RMinHash

    rows = []
    for start in range(0, len(keys), CHUNK):
        part = [[k[j : j + 5] for j in range(max(1, len(k) - 4))] for k in keys[start : start + CHUNK]]
        rows.append(np.asarray(RMinHash.digests_from_token_sets(part, PERMUTATIONS, 1), dtype=np.uint32))
        if progress:
            progress("Looking for copies", min(start + CHUNK, len(keys)), len(keys))
    return np.concatenate(rows) if rows else np.zeros((0, PERMUTATIONS), np.uint32)


def _candidates(sketches: np.ndarray) -> Iterator[np.ndarray]:
    """Groups that are equal in a whole band."""
    for band in range(BANDS):
        part = np.ascontiguousarray(sketches[:, band * ROWS : (band + 1) * ROWS])
        _, place, count = np.unique(part.view(f"V{4 * ROWS}").ravel(), return_inverse=True, return_counts=True)
        order = np.argsort(place, kind="stable")
        ends = np.cumsum(count)
        for end, size in zip(ends[count > 1], count[count > 1], strict=True):
            yield order[end - size : end]


def _normal(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.lower()).strip()


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i
