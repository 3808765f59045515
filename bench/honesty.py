"""How often trimtab's claims are wrong, by simulation: claim, nominal, measured with a 95 % interval. Nothing is
trained.

    python bench/honesty.py [--studies 400]

Kept so far: studies where nothing differs (looked at once, and followed to eight seeds), one cell noisier than the
others, the gain over the base, the race on the recorded grid, attribution of pure noise. Writes results/honesty.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import date
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # the fake trainer is the tests'
from tests.analysis.test_card import ASKED, as_asked
from tests.tuning.fake_trainer import ITEMS, FakeTrainer, desk_of
from tests.tuning.test_ladder import BUDGET, LIMIT, PLACES, RUN, Moving

from trimtab.analysis import attribution, effects, stats
from trimtab.analysis.card import judge
from trimtab.analysis.deciding import items_needed
from trimtab.spec.budget import Limit, preset
from trimtab.spec.recipe import Recipe
from trimtab.tuning.coach import Coach
from trimtab.tuning.ladder import Ladder
from trimtab.tuning.race import clearly_worse

HERE = Path(__file__).parent / "results"
Cell = dict[int, list[float]]
SETTINGS = [dict(zip(("a", "b", "c"), v, strict=True)) for v in product((0.0, 1.0), repeat=3)]


def cells(rng: np.random.Generator, spreads: tuple[float, ...], seeds: int) -> list[Cell]:
    """Recipes that are equally good; a run's loss is its items' and its seed's."""
    items = rng.normal(1, 0.1, 60)
    return [{s: list(items + rng.normal(0, sd) + rng.normal(0, 0.05, 60)) for s in range(seeds)} for sd in spreads]


def one_look(rng: np.random.Generator, spreads: tuple[float, ...] = (0.03,) * 3, seeds: int = 3) -> bool:
    first, *others = cells(rng, spreads, seeds)
    return any(c and c.need is None for c in effects.contrasts(first, others, effects.spent(1)))


def to_eight_seeds(rng: np.random.Generator, spreads: tuple[float, ...] = (0.03, 0.03)) -> bool:
    """Whoever is told "about N more seeds" adds the fewest that any cell is told, and looks again."""
    whole, seeds, look = cells(rng, spreads, 8), 2, 1
    while True:
        first, *others = ({s: c[s] for s in range(seeds)} for c in whole)
        needs = [c.need for c in effects.contrasts(first, others, effects.spent(look)) if c]
        if None in needs:
            return True
        advised = [n for n in needs if n and "seed" in n]
        if seeds == 8 or not advised:
            return False
        more = [int(m[1]) if (m := re.search(r"about (\d+) more", n)) else 1 for n in advised]
        seeds, look = min(8, seeds + min(more)), look + 1


def gain_of_nothing(rng: np.random.Generator, seeds: int = 2) -> bool:
    """A tuned model that is no better, seeds that chose nothing, 60 items: is a gain shown?"""
    right = np.clip(0.4 + rng.normal(0, 0.15, 60), 0.05, 0.95)
    base = (rng.random(60) < right).astype(float)
    tuned = [(rng.random(60) < np.clip(right + rng.normal(0, 0.03), 0, 1)).astype(float) for _ in range(seeds)]
    gain = stats.recipe_gain([list(t - base) for t in tuned])
    return gain is not None and gain.low > 0


class Noisy(FakeTrainer):
    """No setting matters: a run's loss is its items', its seed's (as on the recorded grid) and its own; its answers
    are right as often as the base's."""

    rng: np.random.Generator

    def __init__(self, *args: Any, **how: Any):
        super().__init__(*args, **how)
        self.drawn = int(self.rng.integers(2**31))
        self.right = np.clip(0.4 + self.rng.normal(0, 0.15, 60), 0.05, 0.95)

    def luck(self, recipe: Recipe) -> np.random.Generator:
        """A run's own, the same whenever it is asked for."""
        return np.random.default_rng([self.drawn, *sha256(recipe.run_id.encode()).digest()])

    def items(self, recipe: Recipe, share: float) -> list[float]:
        luck = self.luck(recipe)
        level = (1.0 + luck.normal(0, 0.03)) * (2 - share)
        return [level + n + float(luck.normal(0, 0.05)) for n in ITEMS]

    def measure_base(self, recipe: Recipe) -> dict[str, Any]:
        base = {"exact_match": [float(v) for v in self.rng.random(60) < self.right]}
        return {**super().measure_base(recipe), "numbers": base}

    def measure_task(self, recipes: Sequence[Recipe]) -> dict[str, dict[str, list[float]]]:
        found = {}
        for r in recipes:
            luck = self.luck(r)
            right = np.clip(self.right + luck.normal(0, 0.03), 0, 1)
            found[r.run_id] = {"exact_match": [float(v) for v in luck.random(60) < right]}
        return found


CLAIM = re.compile(r"\b(?:better|worse|beats|improves)\b")


def whole_coach(rng: np.random.Generator) -> bool:
    """Does any sentence of a whole `tune` say that one setting is better than another, or recommend anything?"""
    trainer = type("Drawn", (Noisy,), {"rng": rng})
    with tempfile.TemporaryDirectory() as folder:
        desk = desk_of(Path(folder), "tune", trainer)
        result = Coach(desk, None, {}, ("rank",)).run()
        raced = any("far behind" in (r.reason or "") for r in desk.store.runs())
    steps = [s.replace("not shown to be better", "") for s in desk.said]
    return raced or result["standing"] in ("recommended", "caution") or any(CLAIM.search(s) for s in steps[:-1])


class AtTheLimit(Moving):
    """Every remedy lies exactly at its limit, and looks well inside by the tuning side; the run itself is far out."""

    rng: np.random.Generator
    error = 0.01

    def side(self, recipe: Recipe) -> dict[str, list[float]]:
        return {"kl_generic": [0.04] * 36 if recipe.run_id != RUN.run_id else [0.3] * 36}

    def card(self, recipe: Recipe, _level: str = "card") -> dict[str, Any]:
        value = LIMIT + float(self.rng.normal(0, self.error)) if recipe.run_id != RUN.run_id else 0.3
        below, above = value - 1.645 * self.error, value + 1.645 * self.error
        verdict = Limit(max=LIMIT).judge(below, above)
        row = {"number": "kl_generic", "title": "Drift", "unit": "nats/token", "value": value, "below": below,
               "above": above, "verdict": verdict, "hard": True, "limit": {"max": LIMIT, "min": None}}  # fmt: skip
        return {"verdict": verdict, "rows": [row]}


def walk_at_the_limit(rng: np.random.Generator) -> bool:
    """Does a walk over the remedies call any of them inside?"""
    trainer = type("Drawn", (AtTheLimit,), {"rng": rng})
    with tempfile.TemporaryDirectory() as folder:
        desk = desk_of(Path(folder), "inside", trainer)
        return Ladder(desk, RUN, BUDGET, PLACES).run()["recommended"] is not None


def flipping_passes(rng: np.random.Generator, flips: float = 0.02) -> bool:
    """Does a model PASS the standard preset of which this share of all answers flips, as many to the worse as to the
    better? The card's own numbers of items; spreads of the continuous numbers as harmless runs had them."""
    raw = as_asked()

    def pair(key: str, base: float, n: int) -> None:
        before = (rng.random(n) < base).astype(float)
        after = before.copy()
        for side in (0.0, 1.0):
            places = np.flatnonzero(before == side)
            after[rng.choice(places, min(int(rng.binomial(n, flips / 2)), len(places)), replace=False)] = 1 - side
        raw[f"{key}_base"], raw[f"{key}_tuned"] = before.tolist(), after.tolist()

    def moved(key: str, spread: float, n: int) -> None:
        before = rng.normal(3, 0.5, n)
        raw[f"{key}_base"], raw[f"{key}_tuned"] = before.tolist(), (before + rng.normal(0, spread, n)).tolist()

    for key, base in (("refused", 0.3), ("over_refused", 0.1), ("form", 0.3), ("unhedged_wrong", 0.4), ("right", 0.55),
                      ("sure_wrong", 0.1)):  # fmt: skip
        pair(key, base, ASKED[key])
    pair("degenerate", 0.03, 350)
    pair("fragile", 0.2, 300)
    for key, spread, n in (("nll", 0.01, 16), ("assertive", 2.1, 100), ("margin", 0.25, 100), ("brier", 0.1, 300)):
        moved(key, spread, n)
    raw |= {"kl_generic": rng.lognormal(-4.5, 0.6, 100).tolist(), "log_length_ratio": rng.normal(0, 0.6, 32).tolist()}
    raw |= {f"ez_{k}": rng.lognormal(0, 1, 60).tolist() for k in ("trained", "held_out")}
    raw |= {f"gain_{k}": rng.normal(m, 0.15, 60).tolist() for k, m in (("trained", 0.5), ("held_out", 0.45))}
    return bool(judge({"raw": raw, "level": "card"}, preset("standard"))["verdict"] == "PASS")


def named_in_noise(rng: np.random.Generator) -> bool:
    """Forty numbers of one factorial study, none of which any setting moves: is a setting named?"""
    ways = SETTINGS * 3
    found = [attribution.attribute(ways, list(rng.normal(0, 1, len(ways)))) for _ in range(40)]
    told = [attribution.sentence(a, "n", "", q) for a, q in zip(found, attribution.discoveries(found), strict=True)]
    return any("no setting stands out" not in t for t in told)


def lost_cell(rng: np.random.Generator) -> bool:
    """A pure crossover of two settings, a third that does nothing, one of eight cells lost: is the third given an
    effect?"""
    cells_left = list(product((0, 1), repeat=3))
    cells_left.pop(rng.integers(8))
    ways = [dict(zip("abc", (10.0**v for v in c), strict=True)) for c in cells_left for _ in range(3)]
    values = [float(c[0] != c[1]) + rng.normal(0, 0.1) for c in cells_left for _ in range(3)]
    third = next(e for e in attribution.attribute(ways, values).effects if e.names == ("c",))
    return not third.low <= 0 <= third.high


# (share of items lost, won, limit, items): the truth is such that the first card leaves the verdict open
ADVISED = ((0.03, 0.01, 0.05, 100), (0.02, 0.02, 0.03, 300), (0.05, 0.02, 0.07, 95))


def advice_decides(rng: np.random.Generator, lost: float, won: float, limit: float, n: int) -> bool | None:
    """A card with as many items as an open verdict asked for: does it decide? None where the first one decided."""

    def card(items: int) -> stats.Interval:
        made = stats.paired_shares(
            list(rng.choice([1.0, -1.0, 0.0], items, p=[lost, won, 1 - lost - won])), [0.0] * items
        )
        assert made is not None
        return made

    first = card(n)
    if first.above <= limit or first.below > limit:
        return None
    need = items_needed(first.above - first.value, abs(first.value - limit), n, True)
    if need is None:
        return None
    again = card(need)
    return again.above <= limit or again.below > limit


def raced_seeds() -> tuple[int, int]:
    """Of the recorded grid's triples that differ in the seed alone, in how many one is called far behind."""
    grid = json.loads((HERE / "study_grid.json").read_text(encoding="utf-8"))
    by_way: dict[tuple[float, ...], dict[str, dict[float, list[float]]]] = {}
    for run in grid["runs"]:
        rungs = {g["share"]: g["items"] for g in run["rungs"]}
        by_way.setdefault(tuple(run["way"].values()), {})[str(run["seed"])] = rungs
    return sum(map(_any_is_stopped, by_way.values())), len(by_way)


def _any_is_stopped(seeds: dict[str, dict[float, list[float]]]) -> bool:
    shared = set.intersection(*(set(rungs) for rungs in seeds.values()))
    return any(clearly_worse(share, {s: rungs[share] for s, rungs in seeds.items()}, {}) for share in shared)


def raced() -> dict[str, tuple[int, int]]:
    """By setting: of the recorded grid's triples that differ in it alone, how often the eventual best was stopped."""
    grid = json.loads((HERE / "study_grid.json").read_text(encoding="utf-8"))
    rungs = {(*r["way"].values(), r["seed"]): {g["share"]: g["items"] for g in r["rungs"]} for r in grid["runs"]}
    lost: dict[str, tuple[int, int]] = {}
    for axis, name in enumerate(grid["runs"][0]["way"]):
        rest = {tuple(v for i, v in enumerate(k) if i != axis) for k in rungs}
        triples = [[k for k in rungs if tuple(v for i, v in enumerate(k) if i != axis) == r] for r in rest]
        lost[name] = (sum(_best_is_stopped({k: rungs[k] for k in t}) for t in triples), len(triples))
    return lost


def _best_is_stopped(rungs: dict[tuple[float, ...], dict[float, list[float]]]) -> bool:
    best, running = min(rungs, key=lambda k: float(np.mean(rungs[k][1.0]))), dict(rungs)
    for share in sorted(set.intersection(*(set(r) for r in rungs.values()))):
        out = clearly_worse(share, {str(k): running[k][share] for k in running}, {})
        if str(best) in out:
            return True
        running = {k: v for k, v in running.items() if str(k) not in out}
    return False


CLAIMS: list[tuple[str, str, Callable[[np.random.Generator], bool]]] = [
    ("a study of 3 equal cells, 3 seeds, first look: one is called better or worse", "5 %", one_look),
    ("the same, one cell five times as noisy", "5 %", lambda r: one_look(r, (0.03, 0.03, 0.15))),
    ("the same, spreads of .012, .05 and .23", "5 %", lambda r: one_look(r, (0.012, 0.05, 0.23))),
    ("2 equal cells, followed to 8 seeds as advised: a claim at any look", "5 %", to_eight_seeds),
    (
        "3 cells, one eight times as noisy, followed to 8 seeds as advised: a claim at any look",
        "5 %",
        lambda r: to_eight_seeds(r, (0.03, 0.03, 0.23)),
    ),
    ("a gain over the base is shown where there is none (2 fresh seeds)", "2.5 %", gain_of_nothing),
    ("the same with three, the first of which chose nothing either", "2.5 %", lambda r: gain_of_nothing(r, 3)),
    ("a whole tune where nothing matters: a sentence says that one setting is better", "5 %", whole_coach),
    ("a walk over remedies that all lie exactly at a limit: one is called inside", "5 %", walk_at_the_limit),
    ("attribution names a setting for any of 40 numbers of pure noise", "5 %", named_in_noise),
    ("attribution, one cell lost, a strong coupling: a setting that does nothing has an effect", "5 %", lost_cell),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=400)
    studies = parser.parse_args().studies
    rows = ["| claim | nominal | measured |", "|---|---|---|"]
    for text, nominal, simulate in CLAIMS:
        rng = np.random.default_rng(17)
        rows.append(f"| {text} | {nominal} | {_share(sum(simulate(rng) for _ in range(studies)), studies)} |")
        print(rows[-1], flush=True)
    for flips in (0.0, 0.02, 0.06):
        rng = np.random.default_rng(23)
        inside = sum(flipping_passes(rng, flips) for _ in range(studies))
        goal = "at least 80 %" if flips <= 0.02 else "–"
        rows.append(
            f"| a model of which {flips:.0%} of the answers flip PASSes `standard` | {goal} |"
            f" {_share(inside, studies)} |"
        )
        print(rows[-1], flush=True)
    for case in ADVISED:
        rng = np.random.default_rng(29)
        told = [t for t in (advice_decides(rng, *case) for _ in range(4 * studies)) if t is not None][:studies]
        lost, won, limit, n = case
        text = f"of {n} items {lost:.0%} lost and {won:.0%} won, limit {limit:.0%}: as many as advised decide"
        rows.append(f"| {text} | 80 % | {_share(sum(told), len(told))} |")
        print(rows[-1], flush=True)
    rows.append(f"| of three seeds of one recorded recipe one is called far behind | – | {_share(*raced_seeds())} |")
    print(rows[-1], flush=True)
    for name, (lost, triples) in raced().items():
        rows.append(f"| the race stops the eventual best of three values of {name} | – | {_share(lost, triples)} |")
        print(rows[-1], flush=True)
    head = f"# How often a claim is wrong\n\n{studies} simulated studies a row; {date.today()}, {platform.machine()}.\n"
    (HERE / "honesty.md").write_text("\n".join([head, *rows, ""]), encoding="utf-8")


def _share(hits: int, n: int) -> str:
    known = stats.share(hits, n)
    assert known is not None
    return f"{hits} of {n}: {known.value:.1%} [{known.low:.1%}, {known.high:.1%}]"


if __name__ == "__main__":
    main()
