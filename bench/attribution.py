"""Does attribution say what is true? Simulated studies with a known truth; and how often a difference is claimed
that is not there.

    python bench/attribution.py [--draws 400]

Pure noise: the seed must have the largest share in 95 % of studies; known truth: 90 % intervals cover at least 88 %;
false "better" or "worse" in at most 5 % of studies of two, three and nine cells. results/attribution.md.
"""

from __future__ import annotations

import argparse
import itertools
from datetime import date
from pathlib import Path

import numpy as np

from trimtab.analysis.attribution import attribute, coded
from trimtab.analysis.effects import contrasts

LEVELS = {"learning_rate": (1e-4, 1e-3), "r": (4, 16), "weight_decay": (0.0, 0.1), "num_train_epochs": (1.0, 3.0)}
WAYS = [dict(zip(LEVELS, v, strict=True)) for v in itertools.product(*LEVELS.values())]
STUDIES = ((2, 2), (2, 3), (3, 2), (3, 3), (9, 2), (9, 3))  # cells, seeds
TASTES = (0.1, 0.05, 0.02)  # SD over items of what a setting does to them, beside a seed's SD of 0.03
EFFECTS, PAIR = (0.8, 0.5, 0.2, 0.0), 0.3


def studied(
    rng: np.random.Generator, effects: tuple[float, ...], pair: float, sd: float, repeats: int
) -> dict[tuple[str, ...], tuple[float, float, float]]:
    ways = WAYS * repeats
    _, x = coded(ways)
    y = x @ np.array(effects) + pair * x[:, 0] * x[:, 1] + rng.normal(0, sd, len(ways))
    return {s.names: (s.value, s.low, s.high) for s in attribute(ways, list(y)).shares}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=400)
    draws = parser.parse_args().draws
    rng, rows = np.random.default_rng(0), []
    for repeats in (1, 2, 3):
        wins = 0
        for _ in range(draws):
            found = studied(rng, (0.0,) * 4, 0.0, 1.0, repeats)
            wins += max(found, key=lambda k: found[k][0]) == ("seed",)
        rows.append(
            (
                f"pure noise, {16 * repeats} runs: the seed has the largest share",
                wins / draws,
                ">= 95 %",
                wins / draws >= 0.95,
            )
        )
    for repeats, sd in ((1, 0.5), (2, 0.5), (2, 1.0), (3, 1.0)):
        share = covered(rng, sd, repeats, draws)
        rows.append(
            (f"known truth, {16 * repeats} runs, seed SD {sd}: 90 % intervals cover", share, ">= 88 %", share >= 0.88)
        )
    for cells, seeds in STUDIES:
        false = max(sum(_claims(rng, cells, seeds, taste) for _ in range(draws)) / draws for taste in TASTES)
        name = (
            f'no difference, {cells} cells, {seeds} seeds: a false "better" or "worse", the worst of {len(TASTES)}'
            " spreads over items"
        )
        rows.append((name, false, "<= 5 %", false <= 0.05))
    lines = [
        "# Attribution against a known truth",
        "",
        f"{draws} simulated studies each, {date.today()}; `bench/attribution.py`.",
        "",
        "| | measured | goal | |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {value:.1%} | {goal} | {'met' if met else '**missed**'} |" for name, value, goal, met in rows
    ]
    (Path(__file__).parent / "results" / "attribution.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def covered(rng: np.random.Generator, sd: float, repeats: int, draws: int) -> float:
    signal = np.array([*(e**2 for e in EFFECTS), PAIR**2])
    truth = dict(zip([*((n,) for n in LEVELS), ("learning_rate", "r")], signal / (signal.sum() + sd**2), strict=True))
    truth["seed",] = sd**2 / (signal.sum() + sd**2)
    hits = []
    for _ in range(draws):
        found = studied(rng, EFFECTS, PAIR, sd, repeats)
        hits += [
            found[k][1] <= t <= found[k][2]
            for k, t in truth.items()
            if t > 0 and k in found and (repeats > 1 or k != ("seed",))
        ]
    return float(np.mean(hits))


def _claims(rng: np.random.Generator, cells: int, seeds: int, spread: float) -> bool:
    common = rng.normal(2, 0.5, 60)

    def cell() -> dict[int, list[float]]:
        taste = rng.normal(0, spread, 60)
        taste -= taste.mean()  # items differ in taste, the cells do not differ
        return {s: list(common + taste + rng.normal(0, 0.03) + rng.normal(0, 0.02, 60)) for s in range(seeds)}

    found = contrasts(cell(), [cell() for _ in range(cells - 1)])
    return any(c is not None and c.verdict != "cannot tell yet" for c in found)


if __name__ == "__main__":
    main()
