"""Cells of a study compared on the same items and seeds. Pure; takes losses by item, gives intervals and sentences.

A recipe's claim holds over seeds and items: var = s²(seeds)/k + s²(items)/n. The seeds' variance is what cells and
seeds leave of a two-way table of the whole study (three seeds of one cell know it badly). The two parts have their
own degrees of freedom, so bounds and p are those of Behrens and Fisher: Welch's approximation claims too much where
one or two degrees know the seeds. Several claims at once are corrected by Holm (1979). Where cells spread
differently over seeds (Bartlett 1937), a difference has the variance of its own two cells. A study that is extended and
looked at again spends its 5 % look by look: a half, a quarter, an eighth … of it, which holds for any number of looks
(Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats as scipy_stats
from scipy.optimize import brentq
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from trimtab.analysis.stats import Interval

BY_SEED = Mapping[int, Sequence[float]]  # seed -> loss of each held-out item
ALPHA = 0.05
SWEEPS = 50  # over cells and seeds in turn, until what is left is left by both
RULE = 0.02  # of the mean: the articles call a recipe stable within it


@dataclass(frozen=True)
class Contrast:
    """`interval`: tuned minus baseline, nats/token; `p` after Holm; `verdict`: better, worse, cannot tell yet."""

    interval: Interval
    p: float
    verdict: str
    need: str | None


def spent(look: int) -> float:
    """The share of false claims that the `look`-th look at a study may make; all looks together stay below ALPHA."""
    return ALPHA * 0.5**look


def contrasts(baseline: BY_SEED, others: Sequence[BY_SEED], alpha: float = ALPHA) -> list[Contrast | None]:
    """Each of `others` against the baseline by seeds that both have; None where there are none. `alpha`: what may be
    claimed falsely, of `spent` for a study that can be extended; intervals hold at 1 − alpha."""
    differences = [_differences(baseline, o) for o in others]
    known = [d for d in differences if d is not None]
    noise, freedom = _residual([baseline, *others])
    differ = _spreads_differ([baseline, *others])
    seeds = [_own_noise(d) if differ else (2 * noise, freedom) for d in known]  # of a difference of two runs
    raw = [_claim(d, *of, alpha) for d, of in zip(known, seeds, strict=True)]
    adjusted = iter(holm([p for _, p in raw]))
    made = iter(
        [_contrast(i, next(adjusted), d, of, len(raw), alpha) for (i, _), d, of in zip(raw, known, seeds, strict=True)]
    )
    return [None if d is None else next(made) for d in differences]


LIBERAL = 0.25  # p from which on spreads count as alike: a strict test would pool what differs


def _spreads_differ(cells: Sequence[BY_SEED]) -> bool:
    means = [[float(np.mean(items)) for items in c.values()] for c in cells]
    replicated = [m for m in means if len(m) > 1]
    if len(replicated) < 2 or any(np.ptp(m) == 0 for m in replicated):
        return False
    return bool(scipy_stats.bartlett(*replicated).pvalue < LIBERAL)


def _own_noise(d: np.ndarray) -> tuple[float, int]:
    """(variance of a difference of two runs over the seeds of just these cells, degrees of freedom)."""
    by_seed = d.mean(axis=1)
    return (float(by_seed.var(ddof=1)), len(by_seed) - 1) if len(by_seed) > 1 else (math.inf, 0)


def levels(cells: Sequence[BY_SEED]) -> list[dict[str, Any] | None]:
    """Of each cell's own mean loss {"low", "high", "over"}: 95 % over seeds and items; over items alone where no
    cell has two seeds."""
    arrays = [np.array([list(items) for items in c.values()]) if c else None for c in cells]
    pooled, freedom = _pooled([d.mean(axis=1) for d in arrays if d is not None])
    over, known = ("seeds and items", (pooled, freedom)) if freedom else ("items", (0.0, 1))
    made = [None if d is None else _claim(d, *known)[0] for d in arrays]
    return [
        {"low": i.low, "high": i.high, "over": over} if i is not None and math.isfinite(i.low) else None for i in made
    ]


def _differences(baseline: BY_SEED, other: BY_SEED) -> np.ndarray | None:
    """[seeds, items] of other − baseline."""
    seeds = sorted(baseline.keys() & other.keys())
    return np.array([np.asarray(other[s]) - np.asarray(baseline[s]) for s in seeds]) if seeds else None


def _pooled(groups: Sequence[np.ndarray]) -> tuple[float, int]:
    """(variance within groups, its degrees of freedom); infinite where every group has one member."""
    freedom = sum(len(g) - 1 for g in groups)
    if freedom < 1:
        return math.inf, 0
    return sum(float(((g - g.mean()) ** 2).sum()) for g in groups) / freedom, freedom


def _residual(cells: Sequence[BY_SEED]) -> tuple[float, int]:
    """(variance of one run's mean loss that neither its cell nor its seed explains, its degrees of freedom);
    infinite where there are none."""
    rows = [{seed: float(np.mean(items)) for seed, items in cell.items()} for cell in cells if cell]
    seeds = sorted({s for r in rows for s in r})
    left = np.array([[r.get(s, np.nan) for s in seeds] for r in rows]).reshape(len(rows), len(seeds))
    known = ~np.isnan(left)
    at, of = np.nonzero(known)
    graph = coo_matrix((np.ones(len(at)), (at, len(rows) + of)), shape=(len(rows) + len(seeds),) * 2)
    parts = connected_components(graph, directed=False)[0] if rows else 0
    freedom = int(known.sum()) - (len(rows) + len(seeds) - parts)
    if freedom < 1:
        return math.inf, 0
    for _ in range(SWEEPS):  # once is exact where every cell has every seed
        left = left - np.nanmean(left, axis=1, keepdims=True)
        left = left - np.nanmean(left, axis=0, keepdims=True)
    return float(np.nansum(left**2)) / freedom, freedom


def _claim(d: np.ndarray, pooled: float, freedom: int, alpha: float = ALPHA) -> tuple[Interval, float]:
    """(interval, p of no difference)."""
    seeds, items = d.shape
    centre, within = float(d.mean()), _within(d)
    if not math.isfinite(pooled + within):
        return Interval(centre, -math.inf, math.inf, -math.inf, math.inf, seeds), 1.0
    parts = ((pooled / seeds, freedom), (within, items - 1))
    wide, narrow = (_quantile(q, *parts) for q in (alpha, 2 * alpha))
    return Interval(centre, centre - wide, centre + wide, centre - narrow, centre + narrow, seeds), _beyond(
        abs(centre), *parts
    )


def _within(d: np.ndarray) -> float:
    """Variance of a mean over items."""
    items = d.shape[1]
    return float(d.mean(axis=0).var(ddof=1)) / items if items > 1 else math.inf


_STEPS = (np.arange(400) + 0.5) / 400
Part = tuple[float, int]  # a variance and its degrees of freedom


def _beyond(distance: float, one: Part, other: Part) -> float:
    """P(|√v₁·t₁ + √v₂·t₂| > distance), t of Student with each part's degrees of freedom: Behrens and Fisher's
    two-sided p."""
    (few, few_df), (many, many_df) = sorted((one, other), key=lambda p: p[1])
    moved = math.sqrt(many) * scipy_stats.t.ppf(_STEPS, many_df)
    if few <= 0:
        return float(np.mean(np.abs(moved) >= distance)) if many else float(distance == 0)
    scale = math.sqrt(few)
    above, below = (
        scipy_stats.t.sf((distance - moved) / scale, few_df),
        scipy_stats.t.cdf((-distance - moved) / scale, few_df),
    )
    return float(np.mean(above + below))


def _quantile(p: float, one: Part, other: Part) -> float:
    """The distance beyond which lies `p`."""
    high = math.sqrt(one[0]) * float(scipy_stats.t.isf(p / 4, one[1])) + math.sqrt(other[0]) * float(
        scipy_stats.t.isf(p / 4, other[1])
    )
    if high <= 0:
        return 0.0
    return float(brentq(lambda c: _beyond(c, one, other) - p, 0.0, high, xtol=high * 1e-6))


def holm(ps: Sequence[float]) -> list[float]:
    """Adjusted p values: the smallest times their number, the next times one less, never falling."""
    # statsmodels' multipletests gives the same numbers and collects the whole process's garbage at every call: 40 ms in
    # an empty one, and a study asks often.
    order, adjusted, highest = sorted(range(len(ps)), key=lambda i: ps[i]), list(ps), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = highest
    return adjusted


def _contrast(interval: Interval, p: float, d: np.ndarray, noise: Part, claims: int, alpha: float) -> Contrast:
    if p <= alpha:
        return Contrast(interval, p, "better" if interval.value < 0 else "worse", None)
    return Contrast(interval, p, "cannot tell yet", _need(interval.value, d, *noise, claims, alpha / 2))


def _need(value: float, d: np.ndarray, pooled: float, freedom: int, claims: int, alpha: float) -> str:
    """How many more seeds of every cell would tell a difference of this size at Holm's first step of the next look,
    which has `alpha`, if the items allow it."""
    seeds, items = d.shape
    if not math.isfinite(pooled):
        return "at least 2 seeds"
    within, alpha = _within(d), alpha / claims
    if _beyond(abs(value), (0.0, 1), (within, items - 1)) > alpha:
        return "more held-out examples: the difference is smaller than they can show"
    for more in range(1, 51):
        df = max(1, round(freedom * (seeds + more - 1) / max(1, seeds - 1)))
        if _beyond(abs(value), (pooled / (seeds + more), df), (within, items - 1)) <= alpha:
            return f"about {more} more seed{'s' if more > 1 else ''}"
    return "the difference is too small to be worth its seeds"


def stability(losses: Sequence[float]) -> dict[str, Any]:
    """Spread of one recipe's results over seeds: SD with its 95 % interval (χ²), range, and the 2 % rule on the
    range."""
    x = np.asarray(losses, dtype=float)
    mean = float(x.mean())
    if x.size < 2:
        return {
            "seeds": int(x.size),
            "mean": mean,
            "sd": None,
            "low": None,
            "high": None,
            "range": 0.0,
            "share": None,
            "share_interval": None,
            "verdict": "cannot tell yet",
        }
    sd, df = float(x.std(ddof=1)), x.size - 1
    low, high = (sd * math.sqrt(df / float(scipy_stats.chi2.ppf(q, df))) for q in (0.975, 0.025))
    share = float(np.ptp(x)) / abs(mean) if mean else math.inf
    # The range of k normal draws is on average d₂(k) SDs: the rule holds surely where even the upper SD keeps it.
    upper, lower = (_expected_range(x.size) * s / abs(mean) if mean else math.inf for s in (high, low))
    verdict = "stable" if upper <= RULE else "not stable" if lower > RULE else "cannot tell yet"
    return {
        "seeds": int(x.size),
        "mean": mean,
        "sd": sd,
        "low": low,
        "high": high,
        "range": float(np.ptp(x)),
        "share": share,
        "share_interval": [lower, upper],
        "verdict": verdict,
    }


def _expected_range(n: int) -> float:
    """E[max − min] of n standard normal draws, ∫ 1 − Φⁿ − (1 − Φ)ⁿ."""
    z = np.linspace(-8, 8, 4001)
    phi = scipy_stats.norm.cdf(z)
    return float(np.trapezoid(1 - phi**n - (1 - phi) ** n, z))
