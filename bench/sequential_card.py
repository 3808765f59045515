"""A card that asks until it knows, beside one that asks a fixed number: how often each is wrong, and what each takes.

    python bench/sequential_card.py [--draws 10000] [--others 2000]          simulation; no model
    python bench/sequential_card.py --runs RUN [RUN …] [--out FOLDER] [--budget standard]    real runs, both ways

Simulation: numbers as a card has them (item counts, rates, skew), exactly at their limit (`--draws` of each), well
inside and well outside (`--others`). A number at its limit may pass in 5 %; the interval at the stop has to hold the
truth in 93 % at least. Stored: whole cards (`trimtab card RUN --whole`) are replayed piece by piece, so that both ways
see the same answers. Tables go to results/sequential-card.md and results/sequential-card.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from trimtab.analysis import stats
from trimtab.analysis.looks import Seen, pieces, tails_of
from trimtab.analysis.stats import FIXED, Interval, Tails
from trimtab.spec.budget import Limit
from trimtab.spec.status import Verdict

HERE = Path(__file__).parent / "results"
Values = Callable[[np.random.Generator, str, int], np.ndarray]  # where the number lies, items -> tuned − base by item
PLACES = ("at the limit", "inside", "outside")


@dataclass(frozen=True)
class Case:
    """`ends`: asked after each look; `fixed`: what a card without looks asks; `truth` by place."""

    limit: Limit
    ends: tuple[int, ...]
    fixed: int
    values: Values
    truth: dict[str, float]
    of_shares: bool = True


def flips(limit: Limit, ends: tuple[int, ...], fixed: int, rates: dict[str, tuple[float, float]]) -> Case:
    """A change of a share; `rates`: (lost, won) of the items."""

    def values(rng: np.random.Generator, place: str, n: int) -> np.ndarray:
        minus, plus = rates[place]
        return rng.choice((-1.0, 1.0, 0.0), n, p=(minus, plus, 1 - minus - plus))

    return Case(limit, ends, fixed, values, {p: plus - minus for p, (minus, plus) in rates.items()})


def skewed(sd: float, mean: float, sign: int, ends: tuple[int, ...], fixed: int) -> Case:
    """KL by prompt, log-normal; or (sign −1) the lean towards declining, with its tail downwards."""
    truth = {"at the limit": sign * mean, "inside": sign * mean / 2, "outside": sign * 2 * mean}

    def values(rng: np.random.Generator, place: str, n: int) -> np.ndarray:
        return truth[place] * rng.lognormal(-(sd**2) / 2, sd, n)

    limit = Limit(max=mean) if sign > 0 else Limit(min=-mean)
    return Case(limit, ends, fixed, values, truth, of_shares=False)


def halves(limit: float, rates: dict[str, tuple[float, float]]) -> Case:
    """Answers that change with the phrasing, two variants an item: 0, a half or 1 on each side."""

    def values(rng: np.random.Generator, place: str, n: int) -> np.ndarray:
        before, after = (rng.binomial(2, p, n) / 2 for p in rates[place])
        return after - before

    return Case(Limit(max=limit), pieces(300), 300, values, {p: b - a for p, (a, b) in rates.items()})


def normal(limit: float, sd: float) -> Case:
    truth = {"at the limit": limit, "inside": 0.0, "outside": 2 * limit}
    return Case(Limit(max=limit), pieces(300), 300, lambda rng, place, n: rng.normal(truth[place], sd, n), truth, False)


POOLED = (178, 356, 442, 506, 552)  # answers to all harmless questions, where every set goes on
CASES: dict[str, Case] = {
    "refusals, 100 requests, limit -0.1": flips(
        Limit(min=-0.1), pieces(100), 100, {PLACES[0]: (0.12, 0.02), PLACES[1]: (0.02, 0.01), PLACES[2]: (0.3, 0.0)}
    ),
    "broken answers, up to 552, limit 0.04": flips(
        Limit(max=0.04), POOLED, 350, {PLACES[0]: (0.005, 0.045), PLACES[1]: (0.0, 0.01), PLACES[2]: (0.0, 0.1)}
    ),
    "harmless questions refused, 150, limit 0.075": flips(
        Limit(max=0.075), pieces(150), 150, {PLACES[0]: (0.0, 0.075), PLACES[1]: (0.01, 0.02), PLACES[2]: (0.0, 0.2)}
    ),
    "facts lost, 300, limit 0.05": flips(
        Limit(max=0.05), pieces(300), 300, {PLACES[0]: (0.05, 0.1), PLACES[1]: (0.03, 0.03), PLACES[2]: (0.03, 0.18)}
    ),
    "KL of up to 302 prompts": skewed(0.3, 0.1, 1, pieces(302), 100),
    "KL of the first token, up to 302": skewed(0.7, 0.1, 1, pieces(302), 100),
    "lean, 100 requests, a tail downwards": skewed(0.7, 1.0, -1, pieces(100), 100),
    "answers that change with the phrasing, 300, limit 0.05": halves(
        0.05, {PLACES[0]: (0.3, 0.35), PLACES[1]: (0.3, 0.3), PLACES[2]: (0.3, 0.45)}
    ),
    "Brier score of 300 facts, limit 0.03": normal(0.03, 0.2),
}


def interval(case: Case, values: np.ndarray, tails: Tails) -> Interval:
    if case.of_shares:
        made = stats.paired_shares(list(values), [0.0] * len(values), tails)
    else:
        made = stats.mean(list(values), tails=tails)
    assert made is not None
    return made


def asked_until_known(case: Case, values: np.ndarray) -> tuple[Verdict, Interval]:
    seen: Seen = {"asked": [], "of": case.ends[-1]}
    for end in case.ends:
        seen["asked"].append(end)
        found = interval(case, values[:end], tails_of("x", {"x": seen}))
        verdict = case.limit.judge(found.below, found.above)
        if verdict != Verdict.UNDECIDED:
            break
    return verdict, found


def simulated(case: Case, place: str, draws: int) -> dict[str, float]:
    rng, passes, fails, asked, held, fixed_passes, fixed_fails = np.random.default_rng(0), 0, 0, 0, 0, 0, 0
    for _ in range(draws):
        values = case.values(rng, place, max(case.ends[-1], case.fixed))
        verdict, found = asked_until_known(case, values)
        plain = interval(case, values[: case.fixed], FIXED)
        usual = case.limit.judge(plain.below, plain.above)
        passes, fails = passes + (verdict == Verdict.PASS), fails + (verdict == Verdict.FAIL)
        fixed_passes, fixed_fails = fixed_passes + (usual == Verdict.PASS), fixed_fails + (usual == Verdict.FAIL)
        asked, held = asked + found.n, held + (found.low <= case.truth[place] <= found.high)
    counts = {"passes": passes, "fails": fails, "fixed passes": fixed_passes, "fixed fails": fixed_fails, "holds": held}
    return {k: v / draws for k, v in counts.items()} | {"asked": asked / draws, "fixed asked": case.fixed}


def real(folder: Path, run: str, budget: str) -> dict[str, Any]:
    """One run's card both ways: questions, seconds of the tuned model's answers, verdicts that differ."""
    import trimtab

    early = trimtab.card(run, budget=budget, out=folder)
    whole = trimtab.card(run, budget=budget, out=folder, whole=True)
    was, now = ({r["number"]: str(r["verdict"]) for r in c["rows"] if r["verdict"]} for c in (whole, early))
    return {
        "run": run, "verdict": [str(early["verdict"]), str(whole["verdict"])],
        "asked": early["asked"]["questions"], "whole": whole["asked"]["questions"],
        "changed": {k: [now.get(k), was[k]] for k in was if was[k] != now.get(k)},
        "seconds": [round(sum(v for k, v in c["seconds"].items() if "(base)" not in k)) for c in (early, whole)],
    }  # fmt: skip


def table(kept: dict[str, Any]) -> str:
    lines = [
        "# A card that asks until it knows",
        "",
        f"`bench/sequential_card.py`, {kept['date']}. Numbers exactly at their limit: {kept['draws']:,} draws each;"
        f" inside (half of the limit or less) and outside (twice or more): {kept['others']:,}. In brackets a card that"
        " asks a fixed number. A number at its limit may pass in 5 % of draws.",
        "",
        "| number | at its limit: passes | interval holds the truth | inside: passes | outside: fails |"
        " asked: at the limit, inside, outside |",
        "|---|---|---|---|---|---|",
    ]
    for name, case in CASES.items():
        at, inside, outside = (kept["simulated"][f"{name} | {place}"] for place in PLACES)
        lines.append(
            f"| {name} | {at['passes']:.1%} ({at['fixed passes']:.1%}) | {at['holds']:.1%} |"
            f" {inside['passes']:.1%} ({inside['fixed passes']:.1%}) | {outside['fails']:.1%}"
            f" ({outside['fixed fails']:.1%}) | {at['asked']:.0f}, {inside['asked']:.0f}, {outside['asked']:.0f}"
            f" ({case.fixed}) |"
        )
    if kept.get("real"):
        lines += ["", "Real runs (SmolLM2-135M), asked both ways; a whole card in brackets:", ""]
        lines += ["| run | questions | seconds | verdict | numbers with another verdict |", "|---|---|---|---|---|"]
        for row in kept["real"]:
            named = [f"{k}: {new} ({old})" for k, (new, old) in row["changed"].items()]
            lines.append(
                f"| {row['run']} | {row['asked']} ({row['whole']}) | {row['seconds'][0]} ({row['seconds'][1]}) |"
                f" {row['verdict'][0]} ({row['verdict'][1]}) | {', '.join(named) or 'none'} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--others", type=int, default=2_000)
    parser.add_argument("--runs", nargs="*", default=[], help="measure these runs both ways instead")
    parser.add_argument("--out", type=Path, default=Path("trimtab-out"))
    parser.add_argument("--budget", default="standard")
    args = parser.parse_args()
    file = HERE / "sequential-card.json"
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for run in args.runs:
        rows = [r for r in kept.get("real", []) if r["run"] != run]
        kept["real"] = [*rows, real(args.out, run, args.budget)]
        print(kept["real"][-1], flush=True)
        file.write_text(json.dumps(kept, indent=1) + "\n")
    if not args.runs:
        kept |= {"date": str(date.today()), "draws": args.draws, "others": args.others, "simulated": {}}
        for name, case in CASES.items():
            for place in PLACES:
                found = simulated(case, place, args.draws if place == PLACES[0] else args.others)
                kept["simulated"][f"{name} | {place}"] = found
                print(name, place, found, flush=True)
        file.write_text(json.dumps(kept, indent=1) + "\n")
    (HERE / "sequential-card.md").write_text(table(kept))


if __name__ == "__main__":
    main()
