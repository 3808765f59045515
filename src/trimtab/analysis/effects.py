"""Cells of a study compared on the same items and seeds. Pure; takes losses by item, gives intervals and sentences.

A recipe's claim holds over seeds and items: var = s²(seeds)/k + s²(items)/n. The seeds' variance is pooled over all comparisons of the
study (three seeds of one cell know it badly); several claims at once are corrected by Holm (1979).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from trimtab.analysis.stats import Interval

BY_SEED = Mapping[int, Sequence[float]]  # seed -> loss of each held-out item
ALPHA = 0.05
RULE = 0.02  # of the mean: the articles call a recipe stable within it


@dataclass(frozen=True)
class Contrast:
    """`interval`: tuned minus baseline, nats/token; `p` after Holm; `verdict`: better, worse, cannot tell yet."""

    interval: Interval
    p: float
    verdict: str
    need: str | None


def contrasts(baseline: BY_SEED, others: Sequence[BY_SEED]) -> list[Contrast | None]:
    """Each of `others` against the baseline by seeds that both have; None where there are none."""
    found = [_differences(baseline, o) for o in others]
    known = [d for d in found if d is not None]
    pooled, freedom = _pooled([d.mean(axis=1) for d in known])
    raw = [_claim(d, pooled, freedom) for d in known]
    adjusted = iter(holm([p for _, p, _ in raw]))
    made = iter([_contrast(i, next(adjusted), d, pooled, error) for (i, _, error), d in zip(raw, known, strict=True)])
    return [None if d is None else next(made) for d in found]


def levels(cells: Sequence[BY_SEED]) -> list[dict[str, Any] | None]:
    """Of each cell's own mean loss {"low", "high", "over"}: 95 % over seeds and items; over items alone where no cell has two seeds."""
    found = [np.array([list(items) for items in c.values()]) if c else None for c in cells]
    pooled, freedom = _pooled([d.mean(axis=1) for d in found if d is not None])
    over, known = ("seeds and items", (pooled, freedom)) if freedom else ("items", (0.0, 1))
    made = [None if d is None else _claim(d, *known)[0] for d in found]
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


def _claim(d: np.ndarray, pooled: float, freedom: int) -> tuple[Interval, float, float]:
    """(interval, p of no difference, its standard error)."""
    seeds, items = d.shape
    centre = float(d.mean())
    between, within = pooled / seeds, float(d.mean(axis=0).var(ddof=1)) / items if items > 1 else math.inf
    error = math.sqrt(between + within)
    if not math.isfinite(error):
        return Interval(centre, -math.inf, math.inf, -math.inf, math.inf, seeds), 1.0, error
    df = (between + within) ** 2 / max(1e-300, between**2 / freedom + within**2 / (items - 1))
    wide, narrow = (float(scipy_stats.t.ppf(q, df)) * error for q in (0.975, 0.95))
    p = 2 * float(scipy_stats.t.sf(abs(centre) / error, df)) if error else float(centre == 0)
    return Interval(centre, centre - wide, centre + wide, centre - narrow, centre + narrow, seeds), p, error


def holm(ps: Sequence[float]) -> list[float]:
    """Adjusted p values: the smallest times their number, the next times one less, never falling."""
    order, adjusted, highest = sorted(range(len(ps)), key=lambda i: ps[i]), list(ps), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = highest
    return adjusted


def _contrast(interval: Interval, p: float, d: np.ndarray, pooled: float, error: float) -> Contrast:
    if p <= ALPHA:
        return Contrast(interval, p, "better" if interval.value < 0 else "worse", None)
    return Contrast(interval, p, "cannot tell yet", _need(interval.value, d, pooled, error))


def _need(value: float, d: np.ndarray, pooled: float, error: float) -> str:
    """How many more seeds would tell a difference of this size, if the items allow it."""
    seeds, items = d.shape
    if not math.isfinite(error):
        return "at least 2 seeds"
    within = float(d.mean(axis=0).var(ddof=1)) / items
    room = (value / 2.0) ** 2 - within  # two standard errors
    if room <= 0:
        return "more held-out examples: the difference is smaller than they can show"
    more = math.ceil(pooled / room) - seeds
    return (
        f"about {max(1, more)} more seed{'s' if more > 1 else ''}"
        if more <= 50
        else "the difference is too small to be worth its seeds"
    )


def stability(losses: Sequence[float]) -> dict[str, Any]:
    """Spread of one recipe's results over seeds: SD with its 95 % interval (χ²), range, and the 2 % rule on the range."""
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
