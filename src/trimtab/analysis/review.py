"""Blind votes -> who is preferred, and how sure that is. Takes stored pairs and votes, gives data and a sentence. Pure.

Sign test on the votes that are no ties; Bradley–Terry strengths with an interval over prompts where several models were
compared; the win rate at equal length (AlpacaEval's logistic form: logit p = a + b·tanh(Δlength / its SD), read at 0).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import optimize, stats

from trimtab.analysis.stats import share

FEW = 10  # votes that are no ties, below which no rate at equal length is given


def draw(pairs: Sequence[Mapping[str, Any]], n: int, seed: int) -> list[dict[str, Any]]:
    """`n` pairs at random with their sides drawn; to be stored before anything is shown. Equal answers are ties and
    not asked."""
    rng = random.Random(seed)
    differing = [p for p in pairs if p["first"].strip() != p["second"].strip()]
    chosen = rng.sample(differing, min(n, len(differing)))
    return [{**p, "swapped": rng.random() < 0.5, "vote": None} for p in chosen]


def most_changed(pairs: Sequence[Mapping[str, Any]], n: int) -> list[Mapping[str, Any]]:
    """For reading, never for rates: the pairs that share the fewest words."""
    return sorted(pairs, key=lambda p: _common(p["first"], p["second"]))[:n]


def result(votes: Sequence[Mapping[str, Any]], names: tuple[str, str], same: int = 0) -> dict[str, Any]:
    """`votes` have vote "first", "second", "tie" or None; `same` equal answers count as ties that nobody was asked."""
    cast = [v for v in votes if v["vote"]]
    wins = {side: sum(v["vote"] == side for v in cast) for side in ("first", "second", "tie")}
    decided = wins["first"] + wins["second"]
    rate = share(wins["second"], decided)
    test = stats.binomtest(wins["second"], decided).pvalue if decided else None
    return {
        "names": list(names), "asked": len(votes), "voted": len(cast), **wins, "same": same,
        "rate": rate and vars(rate), "p": test, "rate_at_equal_length": at_equal_length(cast),
        "sentence": _sentence(names, wins, (rate.value, rate.low, rate.high) if rate else None, test),
    }  # fmt: skip


def at_equal_length(cast: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    """How often the second would win if both were equally long; None for few votes."""
    decided = [v for v in cast if v["vote"] != "tie"]
    gaps = np.array([len(v["second"]) - len(v["first"]) for v in decided], dtype=float)
    won = np.array([v["vote"] == "second" for v in decided], dtype=float)
    if len(decided) < FEW or gaps.std() == 0:
        return None
    x = np.tanh(gaps / gaps.std())
    rng = np.random.default_rng(0)
    intercepts = sorted(_intercept(x[rows], won[rows]) for rows in rng.integers(0, len(x), (400, len(x))))
    return {"value": _intercept(x, won), "low": intercepts[10], "high": intercepts[-11]}


def _intercept(x: np.ndarray, won: np.ndarray) -> float:
    """Logistic regression with a weak pull to 0 (a vote each way), so that one-sided votes stay finite."""

    def loss(w: np.ndarray) -> float:
        z = w[0] + w[1] * x
        return float(np.sum(np.logaddexp(0, z) - won * z) + np.logaddexp(0, w[0]) - 0.5 * w[0] + 0.25 * w[1] ** 2)

    w = optimize.minimize(loss, np.zeros(2), method="BFGS").x
    return float(1 / (1 + math.exp(-w[0])))


def strengths(comparisons: Sequence[Sequence[tuple[str, str]]], resamples: int = 300) -> list[dict[str, Any]]:
    """Bradley–Terry by prompt: `comparisons[prompt]` are (winner, loser) pairs; 95 % interval over prompts. Ties are
    left out.

    Strengths are centred: 0 is the average model; a difference of 1 is odds of e to 1.
    """
    import choix

    names = sorted({n for prompt in comparisons for pair in prompt for n in pair})
    number = {n: i for i, n in enumerate(names)}

    def fit(prompts: Sequence[Sequence[tuple[str, str]]]) -> np.ndarray:
        data = [(number[a], number[b]) for prompt in prompts for a, b in prompt]
        fitted = choix.ilsr_pairwise(len(names), data, alpha=0.01)
        return np.asarray(fitted - fitted.mean())

    rng = np.random.default_rng(0)
    drawn = [
        fit([comparisons[i] for i in rng.integers(0, len(comparisons), len(comparisons))]) for _ in range(resamples)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    value = fit(comparisons)
    rows = [
        {"name": n, "value": float(value[i]), "low": float(low[i]), "high": float(high[i])} for n, i in number.items()
    ]
    return sorted(rows, key=lambda r: -r["value"])


def needed(rate: float) -> int | None:
    """Votes that are no ties for 80 % power of the two-sided sign test at 5 %; None where nothing practical settles
    it."""
    for n in (20, 30, 49, 65, 90, 130, 199, 400, 800):
        critical = next(k for k in range(n // 2, n + 2) if 2 * stats.binom.sf(k - 1, n, 0.5) <= 0.05)
        if stats.binom.sf(critical - 1, n, max(rate, 1 - rate)) >= 0.8:
            return n
    return None


def _common(a: str, b: str) -> float:
    x, y = set(a.lower().split()) or set(a), set(b.lower().split()) or set(b)
    return len(x & y) / max(1, len(x | y))


FEW = 10  # decided votes, below which their rate plans nothing


def _sentence(
    names: tuple[str, str], wins: Mapping[str, int], rate: tuple[float, float, float] | None, p: float | None
) -> str:
    first, second = names
    if rate is None or p is None:
        return "No vote between the two yet." if not wins["tie"] else f"All {wins['tie']} votes are ties."
    value, low, high = rate
    decided = wins["first"] + wins["second"]
    span = f"{value:.0%} of {decided} votes [{low:.0%}, {high:.0%}], {wins['tie']} ties; sign test p = {p:.2g}"
    if p <= 0.05:
        return f"{second if value > 0.5 else first} is preferred: {second} wins {span}."
    more = needed(value)
    if decided < FEW:
        return f"Cannot tell yet: {second} wins {span}; {decided} votes say nothing of how many it takes."
    rest = (
        f"if this rate is true, about {more} votes would show it" if more else "the two are too alike for votes to tell"
    )
    return f"Cannot tell yet: {second} wins {span}; {rest}."
