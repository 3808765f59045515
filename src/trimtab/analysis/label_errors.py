"""Labels that are likely wrong. Takes each example's label and what a model that never saw the example thinks of it,
gives suspects, the likeliest first.

Confident learning (Northcutt, Jiang & Chuang 2021): a label is suspected where another one is as probable as it usually
is where it is given, and more probable than the one that stands there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Suspect:
    """`place` of the example; `given` and `likely` labels by number; probabilities of both."""

    place: int
    given: int
    likely: int
    of_given: float
    of_likely: float


def suspects(labels: Sequence[int], probabilities: Sequence[Sequence[float]]) -> list[Suspect]:
    """`probabilities` [examples][labels], out of sample. Ordered by how much likelier the other label is."""
    p, given = np.asarray(probabilities, float), np.asarray(labels)
    rows = np.arange(len(given))
    of_given = p[rows, given]
    usual = np.array([of_given[given == c].mean() if (given == c).any() else np.inf for c in range(p.shape[1])])
    confident = np.where(p >= usual, p, 0.0)
    confident[rows, given] = 0.0
    likely = confident.argmax(axis=1)
    of_likely = confident[rows, likely]
    found = rows[of_likely > of_given]
    order = found[np.argsort(of_given[found] - of_likely[found], kind="stable")]
    return [Suspect(int(i), int(given[i]), int(likely[i]), float(of_given[i]), float(of_likely[i])) for i in order]
