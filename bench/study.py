"""What it costs to find the best of 27 recipes: strategies replayed on the measured grid, with what each would have
trained.

    python bench/study_grid.py                  # first: the grid itself
    python bench/study.py [--draws 200] [--trainer]

A strategy has arrived when the best run that it has seen to its end is within 1 %, 0.002 nats or one SD of a seed of
the grid's best (mean over seeds); then come the confirming seeds. Costs are tokens × seconds a token + evaluations +
loading, all from the grid's own records; `--trainer` first times whole transformers.Trainer/PEFT processes on three
of the recipes, each beside ours. results/study.md, study.json.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from trimtab.analysis.effects import contrasts
from trimtab.analysis.stats import average
from trimtab.tuning.race import clearly_worse

HERE = Path(__file__).parent / "results"
Way = tuple[float, int, float]  # learning_rate, effective_batch, num_train_epochs
CONFIRM = 2  # further seeds of the chosen recipe


class Grid:
    def __init__(self, kept: dict[str, Any]):
        self.runs = {(_way(r["way"]), r["seed"]): r for r in kept["runs"]}
        self.seeds = sorted({s for _, s in self.runs})
        self.ways = sorted({w for w, _ in self.runs})
        self.levels = [sorted({w[i] for w in self.ways}) for i in range(3)]
        self.per_token = statistics.median(r["seconds"] / r["tokens"] for r in kept["runs"])
        self.per_evaluation = statistics.median((r["wall"] - r["seconds"]) / len(r["rungs"]) for r in kept["runs"])
        self.loading = kept["loading"]
        self.mean = mean = {w: statistics.fmean(self.loss(w, s) for s in self.seeds) for w in self.ways}
        best = min(mean.values())
        self.noise = math.sqrt(
            statistics.fmean(statistics.variance([self.loss(w, s) for s in self.seeds]) for w in self.ways)
        )
        self.strict = {w for w, v in mean.items() if v <= best + max(0.01 * best, 0.002)}
        self.good = {w for w, v in mean.items() if v <= best + max(0.01 * best, 0.002, self.noise)}
        self.planned = tuple(
            min(v, key=lambda x: abs(math.log(x / kept["plan"][k])))
            for k, v in zip(("learning_rate", "effective_batch", "num_train_epochs"), self.levels, strict=True)
        )

    def loss(self, way: Way, seed: int) -> float:
        return min(r["loss"] for r in self.runs[way, seed]["rungs"])

    def items(self, way: Way, seed: int, share: float) -> list[float]:
        """Of three steps, two shares may be the same step: the later one is kept."""
        return next(r["items"] for r in self.runs[way, seed]["rungs"] if r["share"] >= share)

    def shares(self) -> list[float]:
        return sorted({r["share"] for run in self.runs.values() for r in run["rungs"]})

    def tokens(self, way: Way, share: float) -> float:
        return self.runs[way, self.seeds[0]]["tokens"] * share


@dataclass
class Bill:
    """What was trained until the strategy arrived. `seen`: best loss among runs that came to their end."""

    grid: Grid
    seed: int
    tokens: float = 0.0
    evaluations: int = 0
    starts: int = 1
    runs: int = 0
    seen: dict[Way, float] = field(default_factory=dict)

    def train(self, way: Way, first: float, last: float) -> None:
        """From share `first` to `last`; what was paid is not paid again."""
        self.tokens += self.grid.tokens(way, last - first)
        self.evaluations += sum(first < s <= last for s in self.grid.shares())
        self.runs += first == 0
        if last == 1.0:
            self.seen[way] = self.grid.loss(way, self.seed)

    @property
    def arrived(self) -> bool:
        return bool(self.seen) and self.chosen in self.grid.good

    @property
    def chosen(self) -> Way:
        return min(self.seen, key=lambda w: self.seen[w])

    def confirmed(self) -> Bill:
        for _ in range(CONFIRM):
            self.tokens += self.grid.tokens(self.chosen, 1.0)
            self.evaluations += len(self.grid.shares())
            self.runs += 1
        return self

    def seconds(self, per_token: float, start: float) -> float:
        return self.tokens * per_token + self.evaluations * self.grid.per_evaluation + self.starts * start


Rule = Callable[..., Any]  # (share, running, rivals) -> who stops
Strategy = Callable[[Grid, int, random.Random], Iterator[Bill]]


def whole_grid(g: Grid, seed: int, rng: random.Random) -> Iterator[Bill]:
    """Every recipe in random order; it knows the best only at the end."""
    bill = Bill(g, seed)
    for way in rng.sample(g.ways, len(g.ways)):
        bill.train(way, 0.0, 1.0)
    yield bill


def at_random(g: Grid, seed: int, rng: random.Random) -> Iterator[Bill]:
    bill = Bill(g, seed)
    for way in rng.sample(g.ways, len(g.ways)):
        bill.train(way, 0.0, 1.0)
        yield bill


def one_by_one(g: Grid, seed: int, _rng: random.Random) -> Iterator[Bill]:
    """The order of the articles: rate, then batch, then epochs, each over all its values, from the middle; whole
    runs."""
    bill, here = Bill(g, seed), tuple(v[1] for v in g.levels)
    for axis in range(3):
        for way in _line(g, here, axis):
            if way not in bill.seen:
                bill.train(way, 0.0, 1.0)
        here = min(_line(g, here, axis), key=lambda w: bill.seen[w])
    yield bill


def trimtab_from(start: str, stop: Rule = clearly_worse) -> Strategy:
    def strategy(g: Grid, seed: int, _rng: random.Random) -> Iterator[Bill]:
        """trimtab's: the same order, raced over one base and stopped when clearly worse on the paired items."""
        bill, here = Bill(g, seed), g.planned if start == "plan" else tuple(v[1] for v in g.levels)
        for axis in range(3):
            line = _line(g, here, axis)
            _race(bill, [w for w in line if w not in bill.seen], [w for w in line if w in bill.seen], stop)
            here = min((w for w in line if w in bill.seen), key=lambda w: bill.seen[w])
            yield bill

    return strategy


def race_of_all(stop: Rule = clearly_worse) -> Strategy:
    def strategy(g: Grid, seed: int, _rng: random.Random) -> Iterator[Bill]:
        """All 27 from the start; at every rung those clearly worse stop."""
        bill = Bill(g, seed)
        _race(bill, g.ways, [], stop)
        yield bill

    return strategy


def optuna_with(pruner: str, start: bool = False) -> Strategy:
    def strategy(g: Grid, seed: int, rng: random.Random) -> Iterator[Bill]:
        """Optuna's TPE with its own pruner on the same rungs, trial after trial in one process."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        made = {
            "median": optuna.pruners.MedianPruner(n_startup_trials=4),
            "hyperband": optuna.pruners.HyperbandPruner(min_resource=1, max_resource=4),
            "asha": optuna.pruners.SuccessiveHalvingPruner(),
        }[pruner]
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=rng.randrange(2**31)), pruner=made)
        if start:
            study.enqueue_trial(dict(zip(("rate", "batch", "epochs"), g.planned, strict=True)))
        bill, known = Bill(g, seed), set()
        for _ in range(200):
            trial = study.ask()
            way = (
                trial.suggest_categorical("rate", g.levels[0]),
                trial.suggest_categorical("batch", g.levels[1]),
                trial.suggest_categorical("epochs", g.levels[2]),
            )
            if way in known and way in bill.seen:  # looked up: generous to it
                study.tell(trial, bill.seen[way])
                continue
            known.add(way)
            _tried(study, trial, bill, way)
            yield bill

    return strategy


def _tried(study: Any, trial: Any, bill: Bill, way: Way) -> None:
    import optuna

    before = 0.0
    for i, share in enumerate(bill.grid.shares(), 1):
        bill.train(way, before, share)
        before = share
        trial.report(average(bill.grid.items(way, bill.seed, share)), i)
        if share < 1 and trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return
    study.tell(trial, bill.seen[way])


class Extrapolated:
    """The other rule that was tried: stop whose loss, drawn on along ln(share) from its last two rungs, ends 5 %
    above the best's."""

    def __init__(self) -> None:
        self.before: dict[str, tuple[float, float]] = {}

    def __call__(self, share: float, running: Any, rivals: Any) -> dict[str, str]:
        now = {r: average(v) for r, v in {**rivals, **running}.items()}
        ends = {r: self._end(r, share, v) for r, v in now.items()}
        self.before |= {r: (share, v) for r, v in now.items()}
        if share == 1 or None in ends.values():  # a line needs two rungs
            return {}
        best = min(v for v in ends.values() if v is not None)
        return {r: "" for r in running if (ends[r] or 0.0) > 1.05 * max(best, 0.0)}

    def _end(self, run: str, share: float, loss: float) -> float | None:
        if run not in self.before or self.before[run][0] >= share:
            return None
        then, was = self.before[run]
        return loss + (loss - was) / math.log(share / then) * -math.log(share)


def _race(bill: Bill, running: list[Way], finished: list[Way], stop: Rule = clearly_worse) -> None:
    g, alive, before = bill.grid, list(running), 0.0
    stop = stop() if isinstance(stop, type) else stop
    for share in g.shares():
        for way in alive:
            bill.train(way, before, share)
        now = {str(w): g.items(w, bill.seed, share) for w in alive}
        lost = stop(share, now, {str(w): g.items(w, bill.seed, share) for w in finished}) if now else {}
        alive, before = [w for w in alive if str(w) not in lost], share


def _line(g: Grid, here: Any, axis: int) -> list[Way]:
    return [tuple(v if i == axis else here[i] for i in range(3)) for v in g.levels[axis]]  # type: ignore[misc]


def _way(way: dict[str, float]) -> Way:
    return way["learning_rate"], int(way["effective_batch"]), way["num_train_epochs"]


STRATEGIES: dict[str, Strategy] = {
    "trimtab: from its plan; rate, batch, epochs, raced": trimtab_from("plan"),
    "trimtab: the same from the middle": trimtab_from("middle"),
    "trimtab: race of all 27": race_of_all(),
    "not kept: its order with losses extrapolated": trimtab_from("plan", Extrapolated),
    "not kept: race of all 27 with losses extrapolated": race_of_all(Extrapolated),
    "one by one, whole runs (the articles' order)": one_by_one,
    "random, whole runs": at_random,
    "Optuna TPE + MedianPruner": optuna_with("median"),
    "Optuna TPE + Hyperband": optuna_with("hyperband"),
    "Optuna TPE + successive halving": optuna_with("asha"),
    "Optuna TPE + Hyperband, from trimtab's plan": optuna_with("hyperband", start=True),
    "whole grid": whole_grid,
}


def replay(g: Grid, strategy: Strategy, draws: int) -> dict[str, Any]:
    """Medians over draws and seeds; `found`: how often it arrived at all."""
    bills, alone, misses, strict = [], [], 0, 0
    for draw in range(draws):
        rng, seed = random.Random(draw), g.seeds[draw % len(g.seeds)]
        bill = next((b for b in strategy(g, seed, rng) if b.arrived), None)
        if bill is None:
            misses += 1
            *_, bill = strategy(g, seed, random.Random(draw))
        strict += bill.chosen in g.strict
        alone.append(bill.seconds(g.per_token, g.loading))
        bills.append(bill.confirmed())
    seconds = sorted(b.seconds(g.per_token, g.loading) for b in bills)
    tokens = [b.tokens for b in bills]
    return {
        "found": 1 - misses / draws,
        "strict": strict / draws,
        "alone": statistics.median(alone),
        "tokens": statistics.median(tokens),
        "seconds": statistics.median(seconds),
        "low": seconds[round(0.05 * (draws - 1))],
        "high": seconds[round(0.95 * (draws - 1))],
        "runs": statistics.median(b.runs for b in bills),
    }


def trainer_costs(out: Path) -> dict[str, float]:
    """Whole processes, imports and loading included: transformers.Trainer with PEFT, and ours, in turn on three of
    the recipes."""
    rows = []
    for way in ((1e-3, 8, 0.5), (1e-3, 8, 1.0), (1e-3, 8, 2.0)):
        for side in ("trainer", "trimtab"):
            began = time.monotonic()
            subprocess.run(
                [sys.executable, str(Path(__file__).parent / "study_side.py"), side, str(out), *map(str, way)],
                check=True,
                capture_output=True,
            )
            rows.append({"side": side, "epochs": way[2], "wall": time.monotonic() - began})
            print(rows[-1], flush=True)
    return {"rows": rows}  # type: ignore[dict-item]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--trainer", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("bench-out/study"))
    args = parser.parse_args()
    file = HERE / "study.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    timed = trainer_costs(args.out) if args.trainer else known.get("trainer")
    kept = json.loads((HERE / "study_grid.json").read_text())
    g = Grid(kept)
    found = {name: replay(g, s, args.draws) for name, s in STRATEGIES.items()}
    file.write_text(
        json.dumps({"date": str(date.today()), "draws": args.draws, "trainer": timed, "found": found}, indent=1) + "\n"
    )
    (HERE / "study.md").write_text(page(g, kept, found, timed, args.draws))
    print(page(g, kept, found, timed, args.draws))


def quality(g: Grid) -> str:
    """What trimtab's answer is worth against the grid's best: the same items, paired, over all seeds."""
    best = min(g.mean, key=lambda w: g.mean[w])
    by = {w: {s: g.items(w, s, 1.0) for s in g.seeds} for w in g.ways}
    chosen = [(*trimtab_from("plan")(g, s, random.Random(0)),)[-1].chosen for s in g.seeds]
    found = []
    for way in dict.fromkeys(chosen):
        (c,) = contrasts(by[best], [by[way]])
        told = (
            f"{c.interval.value:+.3f} [{c.interval.low:+.3f}, {c.interval.high:+.3f}] nats/token"
            if c and way != best
            else "the best itself"
        )
        found.append(
            f"rate {way[0]:g}, batch {way[1]}, {way[2]:g} epochs (of {chosen.count(way)} of {len(chosen)} seeds):"
            f" {told}"
        )
    return (
        "trimtab's order carried through, its answer against the grid's best, paired on the same items over all seeds: "
        + "; ".join(found)
        + "."
    )


def page(g: Grid, kept: dict[str, Any], found: dict[str, Any], timed: Any, draws: int) -> str:
    chief = found["trimtab: from its plan; rate, batch, epochs, raced"]
    ours, first = chief["seconds"], chief["alone"]
    lines = [
        "# Finding the best of 27 recipes",
        "",
        (
            f"SmolLM2-135M-Instruct, 96 home commands, 40 held out, {len(g.seeds)} seeds of each recipe, measured"
            f" {kept['date']}; {draws} replays; `bench/study.py`."
        ),
        "",
        (
            f"Best: rate {min(g.mean, key=lambda w: g.mean[w])[0]:g}, batch {min(g.mean, key=lambda w: g.mean[w])[1]},"
            f" {min(g.mean, key=lambda w: g.mean[w])[2]:g} epochs; {len(g.strict)} of 27 within 1 % or 0.002 nats of"
            f" it, {len(g.good)} within one SD of a seed ({g.noise:.3f}), which is what one seed can tell. The plan for"
            f" this model and data (rate {kept['plan']['learning_rate']:g}, batch {kept['plan']['effective_batch']:g},"
            f" {kept['plan']['num_train_epochs']:g} epochs) lies nearest to rate {g.planned[0]:g}, batch"
            f" {g.planned[1]}, {g.planned[2]:g} epochs. {g.per_token * 1000:.2f} ms a token, {g.per_evaluation:.1f} s"
            f" an evaluation with its pulse, {g.loading:.0f} s loading, all by the grid's own records."
        ),
        "",
        "Until the best run seen is a good one, and two more seeds of it:",
        "",
        (
            "| strategy | arrives within a seed's SD | at the very best | runs begun | tokens | seconds (5–95 %) |"
            " times trimtab's | before confirming | times |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, f in found.items():
        lines.append(
            f"| {name} | {f['found']:.0%} | {f['strict']:.0%} | {f['runs']:g} | {f['tokens']:,.0f} | {f['seconds']:.0f}"
            f" ({f['low']:.0f}–{f['high']:.0f}) | {f['seconds'] / ours:.2f} | {f['alone']:.0f} |"
            f" {f['alone'] / first:.2f} |"
        )
    lines += ["", quality(g)]
    if timed:
        each = {s: {r["epochs"]: r["wall"] for r in timed["rows"] if r["side"] == s} for s in ("trainer", "trimtab")}
        here = {
            e: statistics.median(r["wall"] for (w, _), r in g.runs.items() if w == (1e-3, 8, e))
            for e in each["trimtab"]
        }
        start = max(
            0.0, statistics.median(each["trimtab"][e] - here[e] for e in here)
        )  # imports, processor, tokenizer, model
        whole = 9 * sum(each["trainer"].values()) + CONFIRM * each["trainer"][2.0]
        lines += [
            "",
            "Whole processes side by side (imports, loading, training, evaluation), seconds:",
            "",
            "| epochs | transformers.Trainer + PEFT | trimtab |",
            "|---|---|---|",
        ]
        lines += [f"| {e:g} | {each['trainer'][e]:.0f} | {each['trimtab'][e]:.0f} |" for e in sorted(each["trainer"])]
        lines += [
            "",
            (
                f"27 such Trainer processes one after another and {CONFIRM} confirming ones: about {whole:.0f} s (nine"
                f" times the three above, and the longest twice); trimtab's {ours:.0f} s and {start:.0f} s for a"
                f" process to begin: {whole / (ours + start):.1f} times."
            ),
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
