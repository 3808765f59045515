"""Scores of a classifier that are no mean over items: macro F1, Matthews' correlation, area under the ROC curve. Takes
raw numbers by item, gives values and intervals by resampling the items.

As scikit-learn's (tests say so), without its checks of the input: they are eight times the work, and each is resampled
a thousand times.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

from trimtab.analysis import stats
from trimtab.analysis.intervals import Made, Raw, Value, share_change
from trimtab.analysis.stats import FIXED, Interval, Tails

Score = Callable[[np.ndarray, np.ndarray], float]  # of the right labels' places, and picks or [items, labels]


def macro_f1(truth: np.ndarray, picks: np.ndarray) -> float:
    """Mean over the labels that occur of 2·hits / (said + there)."""
    there = np.unique(truth)
    hits, said, is_so = (
        np.array([f(c) for c in there])
        for f in (
            lambda c: ((truth == c) & (picks == c)).sum(),
            lambda c: (picks == c).sum(),
            lambda c: (truth == c).sum(),
        )
    )
    return float((2 * hits / (said + is_so)).mean())


def mcc(truth: np.ndarray, picks: np.ndarray) -> float:
    """Matthews' correlation for any number of labels (Gorodkin 2004); 0 where one side says one label alone."""
    labels = np.unique(np.concatenate([truth, picks]))
    is_so, said = (np.array([(some == c).sum() for c in labels], float) for some in (truth, picks))
    n, hits = len(truth), float((truth == picks).sum())
    spread = (n * n - is_so @ is_so) * (n * n - said @ said)
    return float((hits * n - is_so @ said) / np.sqrt(spread)) if spread > 0 else 0.0


def auroc(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean over the labels that occur: how often an item of it has a higher probability of it than one of another
    (Mann and Whitney's U); 0.5 is chance."""
    found = []
    for label in np.unique(truth):
        mine = truth == label
        here, others = int(mine.sum()), int((~mine).sum())
        if others:
            ranks = rankdata(probabilities[:, int(label)])
            found.append((ranks[mine].sum() - here * (here + 1) / 2) / (here * others))
    return float(np.mean(found)) if found else 0.5


def _columns(raw: Raw, key: str, names: tuple[str, ...]) -> list[np.ndarray] | None:
    truth = raw.get("label_truth")
    sides = [raw.get(f"{key}_{name}") for name in names]
    if not truth or not all(sides):
        return None
    rows = len(truth)
    made = [np.asarray(side) for side in sides]
    return [np.asarray(truth), *(m if m.size == rows else m.reshape(rows, -1) for m in made)]


def changed(score: Score, key: str) -> Made:
    """Tuned − base; as a change of the share right where nothing varies: items that all agree are no proof that the
    next one does."""

    def made(raw: Raw, tails: Tails = FIXED) -> Interval | None:
        columns = _columns(raw, key, ("tuned", "base"))
        if columns is None:
            return None
        change = stats.resampled(columns, lambda t, a, b: score(t, a) - score(t, b))
        return share_change("label_right")(raw, tails) if change and change.low == change.high else change

    return made


def of_side(score: Score, key: str, name: str) -> Value:
    """Of base or tuned."""

    def value(raw: Raw) -> float | None:
        columns = _columns(raw, key, (name,))
        return score(*columns) if columns else None

    return value
