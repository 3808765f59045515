"""Do the card's 95 % intervals hold the truth 93 to 97 times in a hundred, and how often does the one-sided bound that
judges a limit err? Simulation; no model.

    python bench/coverage.py [--draws 1000]

Each form of interval meets data as a card has them (item counts, rates, skew); results/coverage.md is the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from trimtab.analysis import stats
from trimtab.analysis.stats import Interval

Draw = Callable[[np.random.Generator], tuple[Interval | None, float]]


def flips(n: int, lost: float, won: float) -> Draw:
    """A change of a share: `lost` of the items go 1 → 0, `won` go 0 → 1."""

    def draw(rng: np.random.Generator) -> tuple[Interval | None, float]:
        kind = rng.choice(3, n, p=(lost, won, 1 - lost - won))
        before = np.where(kind == 0, 1.0, np.where(kind == 1, 0.0, 1.0))
        after = np.where(kind == 0, 0.0, 1.0)
        return stats.paired_shares(list(after), list(before)), won - lost

    return draw


def share(n: int, p: float) -> Draw:
    return lambda rng: (stats.share(int(rng.binomial(n, p)), n), p)


def skewed(n: int, sd: float) -> Draw:
    """KL by prompt: log-normal; on trained adapters the SD of ln KL was 0.3 (all tokens) to 0.7 (first token)."""
    return lambda rng: (stats.mean(list(rng.lognormal(-2, sd, n))), float(np.exp(-2 + sd**2 / 2)))


def left(n: int, sd: float) -> Draw:
    """A change with a long tail downwards, as the lean towards refusing has: few requests lose most."""
    return lambda rng: (stats.mean(list(-rng.lognormal(-2, sd, n))), -float(np.exp(-2 + sd**2 / 2)))


def ruined(n: int, share_of: float) -> Draw:
    """KL by prompt where a share of the prompts is ruined (ten times the drift) and the others are calm."""

    def draw(rng: np.random.Generator) -> tuple[Interval | None, float]:
        bad = rng.random(n) < share_of
        values = rng.lognormal(-3, 0.3, n) * np.where(bad, 10.0, 1.0)
        return stats.mean(list(values)), float(np.exp(-3 + 0.045) * (1 + 9 * share_of))

    return draw


def normal_pairs(n: int) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[Interval | None, float]:
        before = rng.normal(3, 0.5, n)
        return stats.paired(list(before + rng.normal(0.03, 0.05, n)), list(before)), 0.03

    return draw


def ranks(n: int, shift: float) -> Draw:
    """AUC of two normals `shift` apart."""
    from scipy.stats import norm

    return lambda rng: (
        stats.auc(list(rng.normal(shift, 1, n)), list(rng.normal(0, 1, n))),
        float(norm.cdf(shift / np.sqrt(2))),
    )


def gap(n: int) -> Draw:
    return lambda rng: (stats.difference(list(rng.normal(0.6, 0.4, n)), list(rng.normal(0.5, 0.3, n))), 0.1)


def overconfident(n: int, over: float) -> Draw:
    """Base calibrated, tuned `over` too sure on the same items."""
    from trimtab.analysis.number_intervals import INTERVALS

    def draw(rng: np.random.Generator) -> tuple[Interval | None, float]:
        p = rng.beta(4, 2, n) * (1 - over)
        right = list((rng.random(n) < p).astype(float))
        raw = {"sure_base": list(p), "right_base": right, "sure_tuned": list(p + over), "right_tuned": right}
        raw["sure_tuned"] = list(np.asarray(raw["sure_tuned"]) + rng.normal(0, 0.05, n))
        return INTERVALS["overconfidence"].interval(raw), over

    return draw


CASES: dict[str, Draw] = {
    "change of a share, 300 facts, 8 % lost, 5 % won": flips(300, 0.08, 0.05),
    "… 100 requests, 10 % lost": flips(100, 0.10, 0.0),
    "… 150 questions, 1 % lost, 2 % won": flips(150, 0.01, 0.02),
    "… 300 facts, 15 % lost, 15 % won": flips(300, 0.15, 0.15),
    "share, 60 answers, 90 %": share(60, 0.9),
    "share, 299 answers, 2 %": share(299, 0.02),
    "KL of 100 prompts": skewed(100, 0.3),
    "… first token": skewed(100, 0.7),
    "… a longer tail than any adapter had": skewed(100, 1.0),
    "… one prompt in twenty ruined": ruined(100, 0.05),
    "lean, 100 requests, a tail downwards": left(100, 0.7),
    "lean of a short card, 24 requests": left(24, 0.7),
    "KL of a pulse, 8 prompts": skewed(8, 0.3),
    "ΔNLL of 16 texts": normal_pairs(16),
    "AUC, 60 against 60, no memory": ranks(60, 0.0),
    "AUC, 60 against 60, much": ranks(60, 1.5),
    "memory gap, 60 against 60": gap(60),
    "over-confidence, 300 facts, 10 points": overconfident(300, 0.10),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=1000)
    draws = parser.parse_args().draws
    lines = ["# Do 95 % intervals cover 93 to 97 %?", "", f"{draws} draws each; `bench/coverage.py`.", "",
             "| interval | covers | below | above | goal | limit above: passes wrongly (nominal 5 %) |"
             " limit below: passes wrongly |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, draw in CASES.items():
        rng, low, high, over, under = np.random.default_rng(0), 0, 0, 0, 0
        for _ in range(draws):
            interval, truth = draw(rng)
            assert interval is not None
            low += truth < interval.low
            high += truth > interval.high
            over += truth > interval.above  # a model exactly at its limit would have passed
            under += truth < interval.below
        covered = 1 - (low + high) / draws
        verdict = "met" if 0.93 <= covered <= 0.97 else "wider than needed" if covered > 0.97 else "**missed**"
        lines.append(
            f"| {name} | {covered:.1%} | {low / draws:.1%} | {high / draws:.1%} | {verdict} |"
            f" {over / draws:.1%} | {under / draws:.1%} |"
        )
        print(lines[-1], flush=True)
    (Path(__file__).parent / "results" / "coverage.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
