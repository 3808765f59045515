"""Intervals. Takes plain lists, gives (value, low, high). Seeded: the same numbers give the same interval.

Paired throughout: callers pass differences, never two unpaired means. Sources: exact binomial bounds Clopper & Pearson
1934; studentised bootstrap Efron & Tibshirani 1993; seeds: Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A value with two-sided 95 % bounds (`low`, `high`) and the one-sided 95 % bounds a gate uses (`below`,
    `above`)."""

    value: float
    low: float
    high: float
    below: float
    above: float
    n: int


@dataclass(frozen=True)
class Tails:
    """The chance to be wrong on each side: of the two-sided bounds (`two`) and of the one-sided ones (`one`)."""

    two: float = 0.025
    one: float = 0.05

    @property
    def quantiles(self) -> tuple[float, float, float, float]:
        """Of the bounds in the order low, below, above, high."""
        return self.two, self.one, 1 - self.one, 1 - self.two


FIXED = Tails()  # of items whose number was settled before any was seen
FEW = 8  # items, below which nothing can be said of their skew


def average(values: Sequence[float]) -> float:
    """The plain mean, where no interval is asked for."""
    return sum(values) / len(values)


def mean(values: Sequence[float], resamples: int = 2000, tails: Tails = FIXED) -> Interval | None:
    """Mean of items: studentised bootstrap (skewed items lean one way), widened to Student's t where that is wider;
    t alone below eight items. None for no items."""
    x = np.asarray(values, dtype=float)
    if x.size == 0 or not np.isfinite(x).all():
        return None
    centre = float(x.mean())
    if x.size == 1:
        return Interval(centre, -math.inf, math.inf, -math.inf, math.inf, 1)
    error = float(x.std(ddof=1)) / math.sqrt(x.size)
    # Losses by item are skewed, so Student's t misses on one side. The studentised bootstrap leans the right way, but
    # is too narrow in small samples; the wider of the two on each side errs only towards "cannot tell".
    plain = _student(centre, error, x.size - 1, int(x.size), tails)
    if x.size < FEW or error == 0:
        return plain
    drawn = np.random.default_rng(0).choice(x, (resamples, x.size))
    errors = np.maximum(
        drawn.std(1, ddof=1) / math.sqrt(x.size), 0.1 * error
    )  # a draw of nearly equal items says nothing
    low, below, above, high = (
        float(q) * error for q in np.quantile((drawn.mean(1) - centre) / errors, tails.quantiles)
    )
    # the upper end of the studentised draws is the lower bound of the mean
    return Interval(
        centre,
        min(centre - high, plain.low),
        max(centre - low, plain.high),
        min(centre - above, plain.below),
        max(centre - below, plain.above),
        int(x.size),
    )


def share(hits: int, n: int, tails: Tails = FIXED) -> Interval | None:
    """A share of yes/no items with exact (Clopper–Pearson) bounds."""
    if n == 0:
        return None

    counted, levels = stats.binomtest(hits, n), (1 - 2 * tails.two, 1 - 2 * tails.one)
    (low, high), (below, above) = ((ci.low, ci.high) for ci in map(counted.proportion_ci, levels))
    return Interval(hits / n, float(low), float(high), float(below), float(above), n)


def by_group(values: Sequence[float], groups: Sequence[int] | None) -> list[float]:
    """Items that come in groups (near copies) as one value a group: its sum times groups / items, so that the mean
    stays and the spread is that between groups: a cluster-robust standard error. The items themselves where every one
    is its own group, or the groups are not known."""
    if not groups or len(groups) != len(values) or len(set(groups)) == len(groups):
        return list(values)
    sums: dict[int, float] = {}
    for group, value in zip(groups, values, strict=True):
        sums[group] = sums.get(group, 0.0) + value
    return [total * len(sums) / len(values) for total in sums.values()]


def paired(after: Sequence[float], before: Sequence[float], tails: Tails = FIXED) -> Interval | None:
    """Mean of after − before over the same items."""
    return mean([a - b for a, b in zip(after, before, strict=True)], tails=tails)


def paired_shares(after: Sequence[float], before: Sequence[float], tails: Tails = FIXED) -> Interval | None:
    """The same for items between 0 and 1. Items that are right or wrong: Tango's score interval (1998), which needs
    no two that differ: items that all agree are no proof that the next one does. Others: Student's t with a
    pseudo-item at each end."""
    x = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    if x.size < 2:
        return mean(list(x), tails=tails)
    if set(np.unique(x)) <= {-1.0, 0.0, 1.0}:
        gained, lost, n = int((x > 0).sum()), int((x < 0).sum()), int(x.size)
        zs = [side * float(stats.norm.ppf(1 - q)) for q in (tails.two, tails.one) for side in (1, -1)]
        bounds = [_tango(gained, lost, n, z) for z in zs]
        return Interval(float(x.mean()), bounds[0], bounds[1], bounds[2], bounds[3], n)
    error, centre = math.sqrt(_share_variance(x) / x.size), float(x.mean())
    return _within(_student(centre, error, x.size - 1, int(x.size), tails))


def _tango(gained: int, lost: int, n: int, z: float) -> float:
    """The difference of paired shares whose score is `z`: the lower bound for a positive one, the upper for a
    negative."""

    def score(difference: float) -> float:
        b = -gained - lost + (2 * n - gained + lost) * difference
        c = -lost * difference * (1 - difference)
        share = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
        spread = n * (2 * share + difference * (1 - difference))
        return (gained - lost - n * difference) / math.sqrt(max(spread, 1e-12))

    # The score is only monotone in the difference, no polynomial worth solving: bisection to 2⁻⁶⁰ is exact enough.
    low, high = -1.0, 1.0
    for _ in range(60):  # the score falls with the difference
        middle = (low + high) / 2
        low, high = (middle, high) if score(middle) > z else (low, middle)
    return (low + high) / 2


def lowest(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Interval | None:
    """The lowest of several changes of shares, (after, before) each of items that are right or wrong: bounds of all
    at once (Bonferroni), their lowest."""
    if not pairs:
        return None
    bounds = []
    for after, before in pairs:
        x = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
        if x.size < 2:
            return None
        gained, lost, n = int((x > 0).sum()), int((x < 0).sum()), int(x.size)
        zs = [side * float(stats.norm.ppf(1 - q / len(pairs))) for q in (0.025, 0.05) for side in (1, -1)]
        bounds.append([x.mean(), *(_tango(gained, lost, n, z) for z in zs)])
    value, low, high, below, above = (float(v) for v in np.min(bounds, axis=0))
    return Interval(value, low, high, below, above, min(len(after) for after, _ in pairs))


def _share_variance(differences: np.ndarray) -> float:
    """Of differences in [-1, 1], with one pseudo-item at each end: never 0, and at n equal items about the rule of
    three."""
    return float(np.var(np.append(differences, (-1.0, 1.0)), ddof=1))


def _student(centre: float, error: float, freedom: float, n: int, tails: Tails = FIXED) -> Interval:
    wide, narrow = (float(stats.t.ppf(1 - q, freedom)) * error for q in (tails.two, tails.one))
    return Interval(centre, centre - wide, centre + wide, centre - narrow, centre + narrow, n)


def _within(i: Interval) -> Interval:
    """A difference of shares cannot leave [-1, 1]."""
    if not math.isfinite(i.value):  # an item that could not be measured decides nothing
        return Interval(i.value, -math.inf, math.inf, -math.inf, math.inf, i.n)
    low, high, below, above = (min(1.0, max(-1.0, v)) for v in (i.low, i.high, i.below, i.above))
    return Interval(i.value, low, high, below, above, i.n)


def moved(interval: Interval, onto: Callable[[float], float]) -> Interval:
    """The same interval on another scale, by a rising function."""
    value, low, high, below, above = (
        onto(v) for v in (interval.value, interval.low, interval.high, interval.below, interval.above)
    )
    return Interval(value, low, high, below, above, interval.n)


def difference(first: Sequence[float], second: Sequence[float]) -> Interval | None:
    """mean(first) − mean(second) of two separate samples, Welch's t."""
    a, b = (np.asarray(x, dtype=float) for x in (first, second))
    if min(a.size, b.size) < 2:
        return None
    parts = ((float(a.var(ddof=1)) / a.size, a.size - 1), (float(b.var(ddof=1)) / b.size, b.size - 1))
    error = math.sqrt(sum(p for p, _ in parts))
    return _student(float(a.mean() - b.mean()), error, _welch(parts), int(min(a.size, b.size)))


def _welch(parts: Sequence[tuple[float, float]]) -> float:
    """Welch–Satterthwaite: a weighted count of what each part is known from."""
    return max(1.0, sum(p for p, _ in parts) ** 2 / max(1e-300, sum(p**2 / max(1, f) for p, f in parts)))


def auc(positive: Sequence[float], negative: Sequence[float]) -> Interval | None:
    """P(a positive item scores above a negative one), ties half; DeLong 1988's variance, on the logit scale."""
    a, b = (np.asarray(x, dtype=float) for x in (positive, negative))
    if min(a.size, b.size) < 2:
        return None
    wins = (a[:, None] > b[None, :]) + 0.5 * (a[:, None] == b[None, :])
    value = float(wins.mean())
    # one pseudo-win and one pseudo-loss: no sample proves that the next pair cannot differ
    few = min(a.size, b.size)
    variance = float(wins.mean(1).var(ddof=1)) / a.size + float(wins.mean(0).var(ddof=1)) / b.size
    inside = (value * few + 0.5) / (few + 1)
    error = math.sqrt(max(variance, inside * (1 - inside) / few**2)) / (inside * (1 - inside))
    logit = _student(math.log(inside / (1 - inside)), error, few - 1, few)
    bounds = moved(logit, lambda v: 1 / (1 + math.exp(-v)))
    return Interval(value, bounds.low, bounds.high, bounds.below, bounds.above, few)


def corrected(labels: Sequence[float], detected: Sequence[float], others: Sequence[float]) -> Interval | None:
    """Mean of what people would say: a detector on everything, corrected by labels on some (PPI++, 2311.01453).
    By hand: the method's own package brings numba along for these few lines, and it has no bound for items that agree.

    `labels[i]` and `detected[i]` are of the same item; `others` are the detector on the items without a label.
    """
    y, f, rest = (np.asarray(x, dtype=float) for x in (labels, detected, others))
    n, more = y.size, rest.size
    if n < 2:
        return None
    spread = float(np.var(np.append(f, rest), ddof=1))
    weight = 0.0
    if spread and more > 1:
        weight = float(np.clip(np.cov(y, f)[0, 1] / ((1 + n / more) * spread), 0, 1))
    centre = float(y.mean() + (weight * (rest.mean() - f.mean()) if more else 0.0))
    error = math.sqrt(_share_variance(y - weight * f) / n + (weight**2 * float(rest.var()) / more if more else 0.0))
    return _within(_student(centre, error, n - 1, n))


def resampled(columns: Sequence[np.ndarray], of: Callable[..., float], resamples: int = 1000) -> Interval | None:
    """Any number of paired columns: bias-corrected bootstrap over their rows (Efron 1987).

    Not scipy's BCa: its acceleration comes from a jackknife, which says nothing of a quantile (half of all left-out
    rows give the same one); a test holds the two together where it does."""
    n = int(columns[0].size)
    if n < 2:
        return None
    rng, value = np.random.default_rng(0), float(of(*columns))
    drawn = np.sort([of(*(c[rows] for c in columns)) for rows in rng.integers(0, n, (resamples, n))])
    below = float(np.clip((drawn < value).mean(), 1 / resamples, 1 - 1 / resamples))
    shift = 2 * float(stats.norm.ppf(below))
    low, under, over, high = (
        float(np.quantile(drawn, stats.norm.cdf(shift + stats.norm.ppf(q)))) for q in (0.025, 0.05, 0.95, 0.975)
    )
    return Interval(value, low, high, under, over, n)


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
    """A recipe's mean gain in a share, over seeds and items: var = s²(seed means)/k + s²(items)/n (both are noise
    for its claim)."""
    means = [float(np.mean(g)) for g in gains_by_seed if len(g)]
    if not means:
        return None
    # The items are the same for every seed: their noise does not shrink with more seeds, so it is taken from the items'
    # means over seeds and added once, instead of pooling seeds × items as if all were independent.
    items = np.mean(np.asarray(gains_by_seed, dtype=float), axis=0)
    between = float(np.var(means, ddof=1)) / len(means) if len(means) > 1 else math.inf
    within = _share_variance(items) / items.size if items.size > 1 else math.inf
    error, centre = math.sqrt(between + within), float(np.mean(means))
    if not math.isfinite(error):
        return Interval(centre, -math.inf, math.inf, -math.inf, math.inf, len(means))
    freedom = _welch(((between, len(means) - 1), (within, items.size - 1)))
    return _within(_student(centre, error, freedom, len(means)))
