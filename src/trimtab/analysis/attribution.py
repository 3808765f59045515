"""Which setting did that: shares of a number's variance over a factorial study, seed noise included. Pure; takes runs, gives shares.

Settings are coded −1 … 1 over the range that was tried, in logarithms where they are positive: a share holds for that range and for no
other. y = b₀ + Σ bₖxₖ + Σ bₖₗxₖxₗ + e; share ω²ₖ = (SSₖ − MSE)/(SS_T + MSE), pairs are couplings, and the seed has what is left.
Interval: σ*² = MSE·ν/χ²_ν and b* = b + σ*z/√(xᵀx), as often as needed; 5 to 95 %. Importances that sum to one without a noise slice name
a winner in pure noise too, which these do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

DRAWS = 2000
FREEDOM = 8  # runs left for the noise, below which couplings are not looked for: with 5, a setting won in 12 % of studies of pure noise
ALIASED = 0.95  # of |correlation|, from which two settings cannot be told apart

TANGLED = 1.5  # variance inflation from which shares of unbalanced runs are not given


@dataclass(frozen=True)
class Share:
    """`effect`: of going from the lowest to the highest value tried, in the number's own unit, with 95 % bounds; None for the seed."""

    names: tuple[str, ...]
    value: float
    low: float
    high: float
    effect: tuple[float, float, float] | None


@dataclass(frozen=True)
class Attribution:
    """`shares`: settings, couplings, the seed last; `aliased`: sentences on what always moved together; `why` it could not be done."""

    shares: tuple[Share, ...] = ()
    runs: int = 0
    aliased: tuple[str, ...] = ()
    why: str | None = None
    couplings: bool = True  # whether there were runs enough to look for them


def attribute(ways: Sequence[Mapping[str, Any]], values: Sequence[float]) -> Attribution:
    """`ways[i]`: the settings of the i-th run; `values[i]` its number."""
    names, x = coded(ways)
    together = aliases(names, x)
    if not names:
        return Attribution(runs=len(ways), why="no setting with numbers or two kinds was varied")
    if together:
        return Attribution(
            runs=len(ways),
            aliased=tuple(together),
            why="some settings always moved together: their shares cannot be told apart",
        )
    if tangled := _tangled(names, x):
        return Attribution(runs=len(ways), why=tangled)
    terms = _terms(names, x)
    if terms is None:
        return Attribution(
            runs=len(ways),
            why=f"{len(ways)} runs are too few for {len(names)} settings and the seed: at least {len(names) + 3}",
        )
    looked = len(names) < 2 or any(len(t) > 1 for t in terms[0])
    return Attribution(_shares(*terms, np.asarray(values, dtype=float)), len(ways), couplings=looked)


def coded(ways: Sequence[Mapping[str, Any]]) -> tuple[list[str], np.ndarray]:
    """Settings that vary, and [runs, settings] in −1 … 1."""
    columns = {name: _code([w[name] for w in ways]) for name in ways[0]}
    kept = {k: v for k, v in columns.items() if v is not None}
    return list(kept), np.array(list(kept.values())).T.reshape(len(ways), len(kept))


def _code(values: Sequence[Any]) -> np.ndarray | None:
    kinds = list(dict.fromkeys(values))
    if len(kinds) < 2:
        return None
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in kinds):
        return np.array([2.0 * kinds.index(v) - 1 for v in values]) if len(kinds) == 2 else None
    x = np.asarray(values, dtype=float)
    x = np.log(x) if (x > 0).all() else x
    return np.asarray(2 * (x - x.min()) / (x.max() - x.min()) - 1)


def aliases(names: Sequence[str], x: np.ndarray) -> list[str]:
    """Pairs of settings that always moved together."""
    return [
        f"{a} and {b} always moved together: a run with one of them changed back would tell them apart"
        for a, b in _together(names, x)
    ]


def _together(names: Sequence[str], x: np.ndarray) -> list[tuple[str, str]]:
    return [
        (a, b)
        for (i, a), (j, b) in combinations(enumerate(names), 2)
        if abs(float(np.corrcoef(x[:, i], x[:, j])[0, 1])) > ALIASED
    ]


def _tangled(names: Sequence[str], x: np.ndarray) -> str | None:
    """Settings that the others half determine (variance inflation), as in a search that went where it was good: shares would lie."""
    if len(names) < 2 or len(x) <= len(names):
        return None
    correlation = np.corrcoef(x, rowvar=False)
    if np.linalg.cond(correlation) > 1e8:
        return "some settings follow from the others: their shares cannot be told apart"
    inflated = [n for n, v in zip(names, np.diag(np.linalg.inv(correlation)), strict=True) if v > TANGLED]
    if not inflated:
        return None
    return f"{', '.join(inflated)} did not move independently of the other settings, so shares would mislead; a factorial study tells"


def breaking(ways: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each pair that always moved together the run that would tell them apart: {"pair", "settings", "sentence"}.

    The settings of the run where the first is lowest, with the first at its highest: one of the two corners that were never tried.
    """
    names, x = coded(ways)
    found = []
    for a, b in _together(names, x):
        i = names.index(a)
        low, high = ways[int(x[:, i].argmin())], ways[int(x[:, i].argmax())]
        settings = {**low, a: high[a]}
        told = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in settings.items())
        found.append({"pair": [a, b], "settings": settings, "sentence": f"To tell {a} from {b}, run: {told}"})
    return found


def _terms(names: Sequence[str], x: np.ndarray) -> tuple[list[tuple[str, ...]], np.ndarray] | None:
    """Settings and their pairs, centred; pairs only where enough runs are left for the noise."""
    mains: list[tuple[str, ...]] = [(n,) for n in names]
    pairs = list(combinations(range(len(names)), 2))
    with_pairs = len(x) - 1 - len(mains) - len(pairs) >= FREEDOM
    columns = [x[:, i] for i in range(len(names))] + ([x[:, i] * x[:, j] for i, j in pairs] if with_pairs else [])
    labels = mains + ([(names[i], names[j]) for i, j in pairs] if with_pairs else [])
    design = np.array(columns).T
    design = design - design.mean(axis=0)
    if len(x) - 1 - len(labels) < 2 or np.linalg.matrix_rank(design) < len(labels):
        return None
    return labels, design


def _shares(labels: Sequence[tuple[str, ...]], x: np.ndarray, y: np.ndarray) -> tuple[Share, ...]:
    n, freedom = len(y), len(y) - 1 - len(labels)
    y = y - y.mean()
    b, *_ = np.linalg.lstsq(x, y, rcond=None)
    mse = float(((y - x @ b) ** 2).sum()) / freedom
    energy = (x**2).sum(axis=0)
    total = float((y**2).sum())
    if total <= 0:
        return (
            *(Share(name, 0.0, 0.0, 0.0, (0.0, 0.0, 0.0)) for name in labels),
            Share(("seed",), 1.0, 1.0, 1.0, None),
        )
    share = np.clip((b**2 * energy - mse) / (total + mse), 0, 1)
    drawn = _drawn(b, x, mse, freedom, n)
    low, high = np.quantile(drawn, (0.05, 0.95), axis=0)
    errors = np.sqrt(mse * np.diag(np.linalg.inv(x.T @ x)))
    wide = float(stats.t.ppf(0.975, freedom)) * errors
    found = [
        Share(
            name,
            float(share[i]),
            float(low[i]),
            float(high[i]),
            (2 * float(b[i]), 2 * float(b[i] - wide[i]), 2 * float(b[i] + wide[i])),
        )
        for i, name in enumerate(labels)
    ]
    return (*found, Share(("seed",), max(0.0, 1 - float(share.sum())), float(low[-1]), float(high[-1]), None))


def _drawn(b: np.ndarray, x: np.ndarray, mse: float, freedom: int, n: int) -> np.ndarray:
    """[draws, terms + seed] of shares that the data allow."""
    rng = np.random.default_rng(0)
    variance = mse * freedom / rng.chisquare(freedom, DRAWS)
    energy = (x**2).sum(axis=0)
    drawn = b + np.sqrt(variance)[:, None] * rng.standard_normal((DRAWS, len(b))) / np.sqrt(energy)
    signal = (drawn**2 - 2 * variance[:, None] / energy) * energy / n  # unbiased: two noises, the data's and the draw's
    whole = (
        np.maximum(signal.sum(axis=1), 0) + variance
    )  # clipped as a whole: clipped one by one, noise would take its part of it
    return np.asarray(np.clip(np.column_stack([signal, variance]) / whole[:, None], 0, 1))


def sentence(found: Attribution, number: str) -> str:
    """What can be said: the largest share, or that it is seed noise, or why nothing can."""
    if found.why:
        return f"{number}: {found.why}."
    *settings, seed = found.shares
    if seed.low == 1.0:
        return f"{number}: the same in all {found.runs} runs."
    best = max(settings, key=lambda s: s.value)
    if best.low <= 0.01 or best.value < 0.05:
        return f"{number}: no setting stands out from seed noise ({seed.value:.0%} [{seed.low:.0%}, {seed.high:.0%}]) in {found.runs} runs."
    effect = (
        f", lowest to highest {best.effect[0]:+.3g} [{best.effect[1]:+.3g}, {best.effect[2]:+.3g}]"
        if best.effect and len(best.names) == 1
        else ""
    )
    how = "the coupling of " + " and ".join(best.names) if len(best.names) > 1 else best.names[0]
    return f"{number}: {how} {best.value:.0%} [{best.low:.0%}, {best.high:.0%}]{effect}; seed {seed.value:.0%}{'' if found.couplings else ' (couplings in it: too few runs to tell them apart)'}, {found.runs} runs, over the ranges tried."
