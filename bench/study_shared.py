"""Strategies replayed on runs that others published: python bench/study_shared.py SHARED_DATA [--draws 200].
results/study_shared.md.

1. 35 models × learning rate × LoRA rank (tinker_lora_sft_sweep.csv, final losses): runs until one is within 0.002
nats or 1 % of the model's best. trimtab starts at its plan for that model, made without the model's family. 2. 63
PEFT runs with 20 evaluations each (peft_method_comparison_curves.csv): 27 drawn at random; training time until only
the chosen is left, and whether it is within a point of the best test accuracy. There are no items, so the race has
its margin alone.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import optuna
import pandas

from trimtab.planning import precedents, rate_sweep, rates
from trimtab.planning.precedents import Query
from trimtab.tuning.neighbours import FACTOR
from trimtab.tuning.race import margin

HERE = Path(__file__).parent / "results"
Point = tuple[float, int]  # learning_rate, rank
Table = dict[Point, float]

# 1. rate × rank


def planned(curve: rate_sweep.Curve) -> float:
    """The plan's rate for a model, from everything but its family."""
    family = precedents.family_of(curve.model)
    same = lambda r: r.family == family or "tinker" in r.repo  # noqa: E731
    query = Query(curve.billions, family, "sft", "lora", rate_sweep.BATCH)
    return rates.decide(query, same, lambda c: c.family == curve.family).value


def trimtab(table: Table, start: float, _rng: random.Random) -> Iterator[Point]:
    """The coach's: the planned rate, a step of three down and up, further while the best is at the edge; then ranks
    beside."""
    rank = min({k for _, k in table}, key=lambda k: abs(math.log(k / 16)))
    line = sorted(r for r, k in table if k == rank)
    seen: list[float] = []
    wanted = [start, start / FACTOR, start * FACTOR]
    while wanted:
        rate = _nearest(line, wanted.pop(0))
        if rate not in seen:
            seen.append(rate)
            yield rate, rank
        best = min(seen, key=lambda r: table[r, rank])
        if not wanted:
            at = line.index(best)
            wanted = [r for r in line[max(0, at - 1) : at + 2] if r not in seen and (r < min(seen) or r > max(seen))]
    best = min(seen, key=lambda r: table[r, rank])
    yield from sorted((p for p in table if p[0] == best and p[1] != rank), key=lambda p: abs(math.log(p[1] / rank)))
    yield from table


def one_by_one(table: Table, _start: float, _rng: random.Random) -> Iterator[Point]:
    ranks = sorted({k for _, k in table})
    line = sorted(p for p in table if p[1] == ranks[len(ranks) // 2])
    yield from line
    best = min(line, key=lambda p: table[p])
    yield from (p for p in table if p[0] == best[0])
    yield from table


def at_random(table: Table, _start: float, rng: random.Random) -> Iterator[Point]:
    yield from rng.sample(sorted(table), len(table))


def tpe(table: Table, start: float, rng: random.Random, begin: bool = False) -> Iterator[Point]:
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=rng.randrange(2**31), n_startup_trials=4))
    lines, ranks = sorted({r for r, _ in table}), sorted({k for _, k in table})
    if begin:
        study.enqueue_trial({"rate": lines.index(_nearest(lines, start)), "rank": ranks.index(_nearest(ranks, 16))})
    for _ in range(300):
        trial = study.ask()
        point = (
            lines[trial.suggest_int("rate", 0, len(lines) - 1)],
            ranks[trial.suggest_int("rank", 0, len(ranks) - 1)],
        )
        if point not in table:  # nobody ran it: free
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        study.tell(trial, table[point])
        yield point
    yield from table


def _nearest(values: Sequence[float], wanted: float) -> Any:
    return min(values, key=lambda v: abs(math.log(v / wanted)))


SEARCHES: dict[str, Callable[[Table, float, random.Random], Iterator[Point]]] = {
    "trimtab: from its plan, by threes": trimtab,
    "one by one: every rate, then every rank": one_by_one,
    "Optuna TPE": tpe,
    "Optuna TPE, from trimtab's plan": lambda t, s, r: tpe(t, s, r, begin=True),
    "random": at_random,
}


def runs_needed(table: Table, order: Iterator[Point], share: float) -> int:
    """Different runs until one is within 0.002 nats or this share of the best; what was run before is looked up."""
    best = min(table.values())
    seen: set[Point] = set()
    for point in order:
        seen.add(point)
        if table[point] <= best + max(0.002, share * best):
            return len(seen)
    raise AssertionError("every order ends with the whole table")


def rate_and_rank(data: Path, draws: int, share: float) -> tuple[dict[str, list[float]], int]:
    """(by strategy, a mean over draws for each model; number of points)."""
    rows = pandas.read_csv(data / "tinker_lora_sft_sweep.csv")
    found: dict[str, list[float]] = {name: [] for name in SEARCHES}
    for curve in rate_sweep.sweep():
        mine = rows[rows.model == curve.model]
        table = {(float(r), int(k)): float(v) for r, k, v in zip(mine.lr, mine.lora_rank, mine.test_nll, strict=True)}
        start = planned(curve)
        for name, search in SEARCHES.items():
            needs = [runs_needed(table, search(table, start, random.Random(d)), share) for d in range(draws)]
            found[name].append(statistics.fmean(needs))
    return found, len(rows)


# 2. the race on published curves


class Run:
    def __init__(self, rows: Any):
        self.name = rows.experiment.iloc[0]
        held = rows[rows.valid_accuracy.notna()].drop_duplicates("step").sort_values("step")
        self.loss, self.valid = list(held.train_loss), list(held.valid_accuracy)
        self.seconds = list(held.train_time_s)
        self.test = float(rows.test_accuracy.max())


def keep_all(runs: Sequence[Run], _rng: random.Random) -> tuple[float, list[Run]]:
    return sum(sum(r.seconds) for r in runs), list(runs)


def raced(runs: Sequence[Run], _rng: random.Random) -> tuple[float, list[Run]]:
    """trimtab's margin on the loss at a quarter, half and three quarters of the steps, all runs together."""
    spent, alive, count = 0.0, list(runs), len(runs[0].loss)
    done = 0
    for share in (0.25, 0.5, 0.75, 1.0):
        upto = round(share * count)
        spent += sum(sum(r.seconds[done:upto]) for r in alive)
        done, best = upto, min(r.loss[upto - 1] for r in alive)
        if share < 1:
            alive = [r for r in alive if r.loss[upto - 1] - best <= margin(share) * best]
    return spent, alive


def pruned(kind: str, signal: str) -> Callable[[Sequence[Run], random.Random], tuple[float, list[Run]]]:
    def strategy(runs: Sequence[Run], rng: random.Random) -> tuple[float, list[Run]]:
        """One run after another in random order, at the same four rungs."""
        made: optuna.pruners.BasePruner = {
            "median": optuna.pruners.MedianPruner(n_startup_trials=4),
            "hyperband": optuna.pruners.HyperbandPruner(min_resource=1, max_resource=4),
        }[kind]  # type: ignore[assignment]
        study, spent, alive, count = optuna.create_study(pruner=made), 0.0, [], len(runs[0].loss)
        for run in rng.sample(list(runs), len(runs)):
            trial, done = study.ask(), 0
            for rung, share in enumerate((0.25, 0.5, 0.75, 1.0), 1):
                upto = round(share * count)
                spent += sum(run.seconds[done:upto])
                done, value = upto, run.loss[upto - 1] if signal == "loss" else -run.valid[upto - 1]
                trial.report(value, rung)
                if share < 1 and trial.should_prune():
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    break
            else:
                study.tell(trial, value)
                alive.append(run)
        return spent, alive

    return strategy


RACES: dict[str, Callable[[Sequence[Run], random.Random], tuple[float, list[Run]]]] = {
    "every run whole": keep_all,
    "trimtab's race (margin on training loss)": raced,
    "Optuna MedianPruner on training loss": pruned("median", "loss"),
    "Optuna MedianPruner on validation accuracy": pruned("median", "accuracy"),
    "Optuna Hyperband on training loss": pruned("hyperband", "loss"),
    "Optuna Hyperband on validation accuracy": pruned("hyperband", "accuracy"),
}


def races(data: Path, draws: int, size: int = 27) -> dict[str, dict[str, float]]:
    rows = pandas.read_csv(data / "peft_method_comparison_curves.csv")
    every = [Run(part) for _, part in rows.groupby("experiment")]
    found: dict[str, list[tuple[float, float, bool]]] = {name: [] for name in RACES}
    for draw in range(draws):
        runs = random.Random(draw).sample(every, size)
        best, whole = max(r.test for r in runs), sum(sum(r.seconds) for r in runs)
        for name, race in RACES.items():
            spent, alive = race(runs, random.Random(1000 + draw))
            chosen = max(alive, key=lambda r: r.valid[-1])
            found[name].append((spent / whole, best - chosen.test, best - chosen.test <= 0.01))
    return {
        name: {
            "time": statistics.median(t for t, _, _ in v),
            "low": sorted(t for t, _, _ in v)[round(0.05 * (draws - 1))],
            "high": sorted(t for t, _, _ in v)[round(0.95 * (draws - 1))],
            "lost": statistics.fmean(d for _, d, _ in v),
            "good": statistics.fmean(g for *_, g in v),
        }
        for name, v in found.items()
    }


def page(
    searched: dict[str, list[float]],
    strict: dict[str, list[float]],
    points: int,
    raced: dict[str, dict[str, float]],
    draws: int,
) -> str:
    lines = [
        "# Strategies on published runs",
        "",
        f"{date.today()}; {draws} replays; `bench/study_shared.py`.",
        "",
        (
            f"**Rate and rank**: {len(next(iter(searched.values())))} models, {points} measured points (tinker sweep)."
            " Runs until one is within 0.002 nats or 1 % of the model's best; trimtab's plan is made without the"
            " model's family."
        ),
        "",
        "| strategy | mean over models | median | worst model | within 0.002 nats alone: mean | worst |",
        "|---|---|---|---|---|---|",
    ]
    for name, v in searched.items():
        s = strict[name]
        lines.append(
            f"| {name} | {statistics.fmean(v):.2f} | {statistics.median(v):.1f} | {max(v):.1f} |"
            f" {statistics.fmean(s):.2f} | {max(s):.1f} |"
        )
    lines += [
        "",
        (
            "**The race**: 27 of 63 PEFT runs at random, four rungs; the chosen has the best validation accuracy of"
            " those that came to their end."
        ),
        "",
        "| strategy | share of the whole time (5–95 %) | test accuracy below the best | within a point of it |",
        "|---|---|---|---|",
    ]
    for name, f in raced.items():
        lines.append(
            f"| {name} | {f['time']:.0%} ({f['low']:.0%}–{f['high']:.0%}) | {f['lost']:.3f} | {f['good']:.0%} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--draws", type=int, default=200)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    searched, points = rate_and_rank(args.data, args.draws, 0.01)
    strict, _ = rate_and_rank(args.data, args.draws, 0.0)
    told = page(searched, strict, points, races(args.data, args.draws), args.draws)
    (HERE / "study_shared.md").write_text(told)
    print(told)


if __name__ == "__main__":
    main()
