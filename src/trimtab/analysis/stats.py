"""Intervals. Takes plain lists, gives (value, low, high). Seeded: the same numbers give the same interval.

Paired throughout: callers pass differences, never two unpaired means. Sources: exact binomial bounds Clopper & Pearson
1934; percentile bootstrap Efron 1979, mixed with the t interval's width for few items; seeds: Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A value with two-sided 95 % bounds (`low`, `high`) and the one-sided 95 % bounds a gate uses (`below`, `above`)."""

    value: float
    low: float
    high: float
    below: float
    above: float
    n: int


def average(values: Sequence[float]) -> float:
    """The plain mean, where no interval is asked for."""
    return sum(values) / len(values)


def mean(values: Sequence[float], resamples: int = 2000) -> Interval | None:
    """Mean of items: bootstrap, widened to Student's t where that is wider (few items). None for no items."""
    x = np.asarray(values, dtype=float)
    if x.size == 0 or not np.isfinite(x).all():
        return None
    centre = float(x.mean())
    if x.size == 1:
        return Interval(centre, -math.inf, math.inf, -math.inf, math.inf, 1)
    means = np.random.default_rng(0).choice(x, (resamples, x.size)).mean(1)
    error = float(x.std(ddof=1)) / math.sqrt(x.size)
    wide, narrow = (float(stats.t.ppf(q, x.size - 1)) * error for q in (0.975, 0.95))
    low, below, above, high = (float(q) for q in np.quantile(means, (0.025, 0.05, 0.95, 0.975)))
    return Interval(
        centre,
        min(low, centre - wide),
        max(high, centre + wide),
        min(below, centre - narrow),
        max(above, centre + narrow),
        int(x.size),
    )


def share(hits: int, n: int) -> Interval | None:
    """A share of yes/no items with exact (Clopper–Pearson) bounds."""
    if n == 0:
        return None

    def lower(q: float) -> float:
        return float(stats.beta.ppf(q, hits, n - hits + 1)) if hits else 0.0

    def upper(q: float) -> float:
        return float(stats.beta.ppf(1 - q, hits + 1, n - hits)) if hits < n else 1.0

    return Interval(hits / n, lower(0.025), upper(0.025), lower(0.05), upper(0.05), n)


def paired(after: Sequence[float], before: Sequence[float]) -> Interval | None:
    """Mean of after − before over the same items."""
    return mean([a - b for a, b in zip(after, before, strict=True)])


def paired_shares(after: Sequence[float], before: Sequence[float]) -> Interval | None:
    """The same for items between 0 and 1: items that all agree are no proof that the next one does."""
    x = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    if x.size < 2:
        return mean(list(x))
    error, centre = math.sqrt(_share_variance(x) / x.size), float(x.mean())
    return _within(_student(centre, error, x.size - 1, int(x.size)))


def _share_variance(differences: np.ndarray) -> float:
    """Of differences in [-1, 1], with one pseudo-item at each end: never 0, and at n equal items about the rule of three."""
    return float(np.var(np.append(differences, (-1.0, 1.0)), ddof=1))


def _student(centre: float, error: float, freedom: float, n: int) -> Interval:
    wide, narrow = (float(stats.t.ppf(q, freedom)) * error for q in (0.975, 0.95))
    return Interval(centre, centre - wide, centre + wide, centre - narrow, centre + narrow, n)


def _within(i: Interval) -> Interval:
    """A difference of shares cannot leave [-1, 1]."""
    low, high, below, above = (min(1.0, max(-1.0, v)) for v in (i.low, i.high, i.below, i.above))
    return Interval(i.value, low, high, below, above, i.n)


def seeds(values: Sequence[float]) -> Interval | None:
    """Mean over runs that differ only in seed, Student's t; with one seed the interval is unknown (infinite)."""
    x = np.asarray(values, dtype=float)
    if x.size == 0:
        return None
    centre = float(x.mean())
    if x.size == 1:
        return Interval(centre, -math.inf, math.inf, -math.inf, math.inf, 1)
    error = float(x.std(ddof=1)) / math.sqrt(x.size)
    return _student(centre, error, x.size - 1, int(x.size))


def recipe_gain(gains_by_seed: Sequence[Sequence[float]]) -> Interval | None:
    """A recipe's mean gain in a share, over seeds and items: var = s²(seed means)/k + s²(items)/n (both are noise for its claim)."""
    means = [float(np.mean(g)) for g in gains_by_seed if len(g)]
    if not means:
        return None
    items = np.mean(np.asarray(gains_by_seed, dtype=float), axis=0)
    between = float(np.var(means, ddof=1)) / len(means) if len(means) > 1 else math.inf
    within = _share_variance(items) / items.size if items.size > 1 else math.inf
    error, centre = math.sqrt(between + within), float(np.mean(means))
    # Welch–Satterthwaite: a weighted count of what each part is known from
    parts = ((between, len(means) - 1), (within, items.size - 1))
    freedom = (
        (between + within) ** 2 / max(1e-300, sum(p**2 / max(1, f) for p, f in parts)) if math.isfinite(error) else 1.0
    )
    if not math.isfinite(error):
        return Interval(centre, -math.inf, math.inf, -math.inf, math.inf, len(means))
    return _within(_student(centre, error, max(1.0, freedom), len(means)))
