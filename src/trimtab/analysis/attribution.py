"""Which setting did that: shares of a number's variance over a factorial study, seed noise included. Pure; takes
runs, gives shares.

Settings are coded −1 … 1 over the range that was tried, in logarithms where they are positive: a share holds for
that range and for no other. y = b₀ + Σ bₖxₖ + Σ bₖₗxₖxₗ + e; share ω²ₖ = (SSₖ − MSE)/(SS_T + MSE), pairs are
couplings, and the seed has what is left. Interval: σ*² = MSE·ν/χ²_ν and b* = b + σ*z/√(xᵀx), as often as needed; 5
to 95 %. Where settings were run with several seeds, their own spread is the noise, and what the settings explain
without a line is named so. Where runs are missing or seeds unequal, columns are no longer at right angles and variance
cannot be shared out among them: then there are effects with intervals, and no shares. Importances that sum
to one without a noise slice name a winner in pure noise too, which these do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

DRAWS = 2000
# runs left for the noise, below which couplings are not looked for: with 5, a setting won in 12 % of studies of pure
# noise
FREEDOM = 8
ALIASED = 0.95  # of |correlation|, from which two settings cannot be told apart

REPLICATED = 3  # runs beyond one of each setting, from which their spread is the seed's
BENT = ("not a straight line",)  # what the settings explain, but no line or fitted coupling does
TANGLED = 1.5  # variance inflation from which shares of unbalanced runs are not given


@dataclass(frozen=True)
class Share:
    """`effect`: of going from the lowest to the highest value tried, in the number's own unit, with 95 % bounds;
    None for the seed."""

    names: tuple[str, ...]
    value: float
    low: float
    high: float
    effect: tuple[float, float, float] | None


@dataclass(frozen=True)
class Effect:
    """Of going from the lowest to the highest value tried, in the number's own unit, with 95 % bounds."""

    names: tuple[str, ...]
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Attribution:
    """`shares`: settings, couplings, the seed last; `effects` where there can be no shares, and `why` not; `aliased`:
    sentences on what always moved together; `p`: of no setting mattering along a line or in a coupling (Bonferroni
    over the terms), and of no setting mattering in any other way."""

    shares: tuple[Share, ...] = ()
    effects: tuple[Effect, ...] = ()
    p: tuple[float, float] = (1.0, 1.0)
    runs: int = 0
    aliased: tuple[str, ...] = ()
    why: str | None = None
    couplings: bool = True  # whether there were runs enough to look for them
    pure: bool = True  # whether equal settings were run often enough to know the seed's own spread


def attribute(ways: Sequence[Mapping[str, Any]], values: Sequence[float]) -> Attribution:
    """`ways[i]`: the settings of the i-th run; `values[i]` its number."""
    measured = [i for i, v in enumerate(values) if math.isfinite(v)]
    ways, values = [ways[i] for i in measured], [values[i] for i in measured]
    if not ways:
        return Attribution(why="it was measured in no run")
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
    labels, x = terms
    y = np.asarray(values, dtype=float)
    fit = _fitted(x, y)
    p = _chances(fit)
    if not _at_right_angles(x):
        effects, p, bent = _unbalanced(names, coded(ways)[1], y, any(len(t) > 1 for t in labels))
        return Attribution((), effects, p, len(ways), why=UNBALANCED + (BENDS if bent else ""))
    looked = len(names) < 2 or any(len(t) > 1 for t in labels)
    shares, pure = _shares(labels, x, y, fit)
    return Attribution(shares, (), p, len(ways), couplings=looked, pure=pure)


UNBALANCED = "runs are missing or seeds unequal, so that variance cannot be shared out"
BENDS = "; no line and no coupling describes them all, so an effect is of the middle of the ranges at best"
RIGHT = 0.02  # of |correlation| between columns, up to which they are at right angles


def _at_right_angles(x: np.ndarray) -> bool:
    if x.shape[1] < 2:
        return True
    correlation = np.corrcoef(x, rowvar=False)
    return bool(np.abs(correlation - np.eye(len(correlation))).max() <= RIGHT)


def _fitted(x: np.ndarray, y: np.ndarray) -> _Fit:
    """Least squares on centred columns: (coefficients, their standard errors, the noise)."""
    y = y - y.mean()
    b, *_ = np.linalg.lstsq(x, y, rcond=None)
    noise = _noise(x, y, y - x @ b)
    return b, np.sqrt(noise.variance * np.diag(np.linalg.inv(x.T @ x))), noise


def _unbalanced(
    names: Sequence[str], codes: np.ndarray, y: np.ndarray, with_pairs: bool
) -> tuple[tuple[Effect, ...], tuple[float, float], bool]:
    """Effects of settings at the middle of the others' ranges, where runs are missing; the chances of Attribution.p;
    and whether no line or coupling describes them. Couplings stay in the fit, else the runs that are missing turn them
    into effects; what still does not fit widens the intervals."""
    products = [codes[:, i] * codes[:, j] for i, j in combinations(range(len(names)), 2)] if with_pairs else []
    x = np.column_stack([codes, *products])
    b, errors, noise = _fitted(x - x.mean(axis=0), y)
    bent = False
    if noise.misfit_freedom and noise.variance:
        ratio = noise.misfit / noise.misfit_freedom / noise.variance
        bent = float(stats.f.sf(ratio, noise.misfit_freedom, noise.freedom)) <= CLAIM
        if ratio > 1:
            errors = errors * math.sqrt(ratio)
            noise = _Noise(noise.variance * ratio, noise.misfit_freedom, noise.pure)
    mains = (b[: len(names)], errors[: len(names)], noise)
    return _effects([(n,) for n in names], mains), _chances(mains), bent


def _effects(labels: Sequence[tuple[str, ...]], fit: _Fit) -> tuple[Effect, ...]:
    b, errors, noise = fit
    wide = float(stats.t.ppf(0.975, noise.freedom)) * errors
    return tuple(
        Effect(k, 2 * float(v), 2 * float(v - w), 2 * float(v + w)) for k, v, w in zip(labels, b, wide, strict=True)
    )


def _chances(fit: _Fit) -> tuple[float, float]:
    """(the smallest p of a term, times how many there are; p of what no line explains, by F)."""
    b, errors, noise = fit
    if not noise.variance:
        return (0.0 if b.any() else 1.0), 1.0
    line = min(1.0, len(b) * float((2 * stats.t.sf(np.abs(b / errors), noise.freedom)).min()))
    if not noise.misfit_freedom:
        return line, 1.0
    ratio = noise.misfit / noise.misfit_freedom / noise.variance
    return line, float(stats.f.sf(ratio, noise.misfit_freedom, noise.freedom))


def discoveries(found: Sequence[Attribution]) -> list[tuple[float, float]]:
    """Both p of each number's attribution when all of them are looked at (Benjamini & Hochberg 1995)."""
    qs = stats.false_discovery_control([p for a in found for p in a.p]) if found else []
    return [(float(qs[i]), float(qs[i + 1])) for i in range(0, len(qs), 2)]


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
    """Settings that the others half determine (variance inflation), as in a search that went where it was good:
    shares would lie."""
    if len(names) < 2 or len(x) <= len(names):
        return None
    correlation = np.corrcoef(x, rowvar=False)
    if np.linalg.cond(correlation) > 1e8:
        return "some settings follow from the others: their shares cannot be told apart"
    inflated = [n for n, v in zip(names, np.diag(np.linalg.inv(correlation)), strict=True) if v > TANGLED]
    if not inflated:
        return None
    return (
        f"{', '.join(inflated)} were not combined freely with the other settings (one at a time, or where a search"
        " went), so shares would mislead; the study's own answer compares them, a factorial study shares them out"
    )


def breaking(ways: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each pair that always moved together the run that would tell them apart: {"pair", "settings", "sentence"}.

    The settings of the run where the first is lowest, with the first at its highest: one of the two corners that
    were never tried.
    """
    names, x = coded(ways)
    runs = []
    for a, b in _together(names, x):
        i = names.index(a)
        low, high = ways[int(x[:, i].argmin())], ways[int(x[:, i].argmax())]
        settings = {**low, a: high[a]}
        told = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in settings.items())
        runs.append({"pair": [a, b], "settings": settings, "sentence": f"To tell {a} from {b}, run: {told}"})
    return runs


def _terms(names: Sequence[str], x: np.ndarray) -> tuple[list[tuple[str, ...]], np.ndarray] | None:
    """Settings and their pairs, centred; pairs only where enough runs are left for the noise."""
    mains: list[tuple[str, ...]] = [(n,) for n in names]
    pairs = list(combinations(range(len(names)), 2))
    with_pairs = len(x) - 1 - len(mains) - len(pairs) >= FREEDOM
    x = x - x.mean(axis=0)  # before they are multiplied: else a coupling leans on its own settings
    columns = [x[:, i] for i in range(len(names))] + ([x[:, i] * x[:, j] for i, j in pairs] if with_pairs else [])
    labels = mains + ([(names[i], names[j]) for i, j in pairs] if with_pairs else [])
    design = np.array(columns).T
    design = design - design.mean(axis=0)
    if len(x) - 1 - len(labels) < 2 or np.linalg.matrix_rank(design) < len(labels):
        return None
    return labels, design


def _shares(
    labels: Sequence[tuple[str, ...]], x: np.ndarray, y: np.ndarray, fit: _Fit
) -> tuple[tuple[Share, ...], bool]:
    """The shares, the seed last; and whether the seed's is the spread of equal settings, or all that no line
    explains."""
    n, y = len(y), y - y.mean()
    total = float((y**2).sum())
    if total <= 0:
        return (
            *(Share(k, 0.0, 0.0, 0.0, (0.0, 0.0, 0.0)) for k in labels),
            Share(("seed",), 1.0, 1.0, 1.0, None),
        ), True
    b, errors, noise = fit
    energy = (x**2).sum(axis=0)
    share = np.clip((b**2 * energy - noise.variance) / (total + noise.variance), 0, 1)
    bent = float(np.clip((noise.misfit - noise.misfit_freedom * noise.variance) / (total + noise.variance), 0, 1))
    drawn = _drawn(b, x, noise, n)
    low, high = np.quantile(drawn, (0.05, 0.95), axis=0)
    wide = float(stats.t.ppf(0.975, noise.freedom)) * errors
    shares = [
        Share(
            k,
            float(share[i]),
            *_around(share[i], low[i], high[i]),
            (2 * float(b[i]), 2 * float(b[i] - wide[i]), 2 * float(b[i] + wide[i])),
        )
        for i, k in enumerate(labels)
    ]
    if noise.misfit_freedom:
        shares.append(Share(BENT, bent, *_around(bent, low[-2], high[-2]), None))
    rest = max(0.0, 1 - float(share.sum()) - bent)
    return (*shares, Share(("seed",), rest, *_around(rest, low[-1], high[-1]), None)), noise.pure


def _around(value: float, low: float, high: float) -> tuple[float, float]:
    """The drawn bounds lean towards 0 where a share is clipped there; the share itself is always possible."""
    return min(float(low), float(value)), max(float(high), float(value))


@dataclass(frozen=True)
class _Noise:
    """Of one run, with its degrees of freedom; and what no line explains although the settings do."""

    variance: float
    freedom: int
    pure: bool
    misfit: float = 0.0
    misfit_freedom: int = 0


_Fit = tuple[np.ndarray, np.ndarray, _Noise]  # coefficients, their standard errors, the noise


def _noise(x: np.ndarray, y: np.ndarray, residual: np.ndarray) -> _Noise:
    """From runs with equal settings where there are enough; else from all that the lines leave."""
    left, freedom = float((residual**2).sum()), len(y) - 1 - x.shape[1]
    _, cell = np.unique(np.round(x, 9), axis=0, return_inverse=True)
    cell = cell.ravel()
    cells = int(cell.max()) + 1
    if len(y) - cells < REPLICATED:
        return _Noise(left / freedom, freedom, pure=False)
    means = np.array([y[cell == c].mean() for c in range(cells)])
    within = float(((y - means[cell]) ** 2).sum())
    misfit_freedom = cells - 1 - x.shape[1]
    if misfit_freedom < 1:
        return _Noise(left / freedom, freedom, pure=True)
    least = 1e-12 * float((y**2).mean())  # seeds that make no difference at all
    return _Noise(max(least, within / (len(y) - cells)), len(y) - cells, True, max(0.0, left - within), misfit_freedom)


def _drawn(b: np.ndarray, x: np.ndarray, noise: _Noise, n: int) -> np.ndarray:
    """[draws, terms + misfit + seed] of shares that the data allow."""
    rng = np.random.default_rng(0)
    variance = noise.variance * noise.freedom / rng.chisquare(noise.freedom, DRAWS)
    energy = (x**2).sum(axis=0)
    drawn = b + np.sqrt(variance)[:, None] * rng.standard_normal((DRAWS, len(b))) / np.sqrt(energy)
    signal = (drawn**2 - 2 * variance[:, None] / energy) * energy / n  # unbiased: two noises, the data's and the draw's
    bent = np.zeros(DRAWS)
    if noise.misfit_freedom:
        # a sum of squares with its own noise: variance·χ'²(f, misfit/variance), twice as above
        again = variance * rng.noncentral_chisquare(noise.misfit_freedom, noise.misfit / variance)
        bent = np.maximum(again - 2 * noise.misfit_freedom * variance, 0) / n
    # clipped as a whole: clipped one by one, noise would take its part of it
    whole = np.maximum(signal.sum(axis=1) + bent, 0) + variance
    return np.asarray(np.clip(np.column_stack([signal, bent, variance]) / whole[:, None], 0, 1))


CLAIM = 0.05  # of the claims made, at most this share may be of settings that do not matter


def sentence(attribution: Attribution, number: str, unit: str, q: tuple[float, float] | None = None) -> str:
    """What can be said of a number in this unit: the largest share, or that it is seed noise, or why nothing can.
    `q`: of `discoveries`, where it is one of several numbers."""
    line, curved = attribution.p if q is None else q
    if attribution.effects:
        return _of_effects(attribution, number, unit, line)
    if attribution.why:
        return f"{number}: {attribution.why}."
    *settings, seed = attribution.shares
    if seed.low == 1.0:
        return f"{number}: the same in all {attribution.runs} runs."
    rest = "seed" if attribution.pure else "seed and what no line explains"
    bent = next((f"; not a straight line {s.value:.0%}" for s in settings if s.names == BENT and s.value >= 0.05), "")
    settings = [s for s in settings if s.names != BENT]
    best = max(settings, key=lambda s: s.value)
    if best.low <= 0.01 or best.value < 0.05 or line > CLAIM:
        curve = next((s for s in attribution.shares if s.names == BENT and curved <= CLAIM), None)
        if curve:
            return (
                f"{number}: the settings matter, but along no straight line and no coupling that"
                f" {attribution.runs} runs can tell apart ({curve.value:.0%} [{curve.low:.0%}, {curve.high:.0%}] of it;"
                f" {rest} {seed.value:.0%})."
            )
        return (
            f"{number}: no setting stands out from seed noise ({rest} {seed.value:.0%} [{seed.low:.0%},"
            f" {seed.high:.0%}]{bent}) in {attribution.runs} runs."
        )
    effect = (
        f", lowest to highest {best.effect[0]:+.3g} [{best.effect[1]:+.3g}, {best.effect[2]:+.3g}] {unit}".rstrip()
        if best.effect and len(best.names) == 1
        else ""
    )
    how = "the coupling of " + " and ".join(best.names) if len(best.names) > 1 else best.names[0]
    return (
        f"{number}: {how} {best.value:.0%} [{best.low:.0%}, {best.high:.0%}]{effect}{bent}; {rest}"
        f" {seed.value:.0%}{'' if attribution.couplings else ' (couplings in it: too few runs to tell them apart)'},"
        f" {attribution.runs} runs, over the ranges tried."
    )


def _of_effects(attribution: Attribution, number: str, unit: str, q: float) -> str:
    told = ", ".join(f"{' × '.join(e.names)} {e.value:+.3g} [{e.low:+.3g}, {e.high:+.3g}]" for e in attribution.effects)
    head = "no effect stands out" if q > CLAIM else "effects"
    return (
        f"{number}: {head}, lowest to highest value tried: {told} {unit}".rstrip()
        + f", {attribution.runs} runs; {attribution.why}."
    )
