"""The replay of bench/study.py checked against the clock: trimtab's order and Optuna's TPE + Hyperband really
carried out, in turn.

python bench/study_real.py [--repeats 3]         # about nine minutes a repeat, added to those in
results/study_real.json

Each side in a process of its own with an empty folder, imports, loading, evaluation and the confirming seeds
included. A side has arrived when its best complete run is one that the grid calls good (within a seed's SD of the
best); neither could know that by itself.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "results"
SIDES = ("trimtab", "tpe")


class Bench:
    """One side's folder, worker and grid."""

    def __init__(self, out: Path):
        from study import Grid
        from study_grid import data
        from trimtab.run import machine, material
        from trimtab.spec.progress import SILENT
        from trimtab.store import Store
        from trimtab.workers.worker import Worker

        self.grid = Grid(json.loads((HERE / "study_grid.json").read_text()))
        self.folder = data(out)
        self.store = Store(out / "store")
        what = material.load_material("bundled:smollm2", str(self.folder), lambda _: None)
        self.worker = Worker(self.store, what, machine.look(), SILENT)
        self.seen: dict[Any, float] = {}

    def recipe(self, way: Any, seed: int) -> Any:
        from study_grid import LEVELS, recipe

        return self.worker.material.named_in(recipe(self.folder, dict(zip(LEVELS, way, strict=True)), seed))

    def train(self, ways: Sequence[Any], race: Any) -> None:
        from trimtab.spec.status import Status

        for way, o in zip(ways, self.worker.train([self.recipe(w, 1) for w in ways], race), strict=True):
            if o.status == Status.COMPLETE:
                self.seen[way] = o.loss

    @property
    def best(self) -> Any:
        return min(self.seen, key=lambda w: self.seen[w])

    @property
    def arrived(self) -> bool:
        return bool(self.seen) and self.best in self.grid.good

    def confirm(self) -> None:
        self.worker.train([self.recipe(self.best, seed) for seed in (2, 3)])


def trimtab(bench: Bench) -> None:
    from study import _line
    from trimtab.tuning.race import Race

    here = bench.grid.planned
    for axis in range(3):
        line = _line(bench.grid, here, axis)
        against = tuple(bench.recipe(w, 1).run_id for w in line if w in bench.seen)
        bench.train([w for w in line if w not in bench.seen], Race(against))
        here = min((w for w in line if w in bench.seen), key=lambda w: bench.seen[w])
        if bench.arrived:
            return


def tpe(bench: Bench, draw: int) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=random.Random(draw).randrange(2**31))
    study = optuna.create_study(sampler=sampler, pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=4))
    for _ in range(200):
        trial = study.ask()
        g = bench.grid
        way = tuple(trial.suggest_categorical(n, v) for n, v in zip(("rate", "batch", "epochs"), g.levels, strict=True))
        if way not in bench.seen:
            bench.train([way], Pruner(trial))
        if way not in bench.seen:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            continue
        study.tell(trial, bench.seen[way])
        if bench.arrived:
            return


class Pruner:
    """Stands where a Race stands and lets Optuna's pruner decide."""

    against, both = (), False

    def __init__(self, trial: Any):
        self.trial, self.rung = trial, 0

    def beside(self, _rows: Any, _cohort: Any) -> Pruner:
        return self

    def losers(self, _store: Any, share: float, running: Mapping[str, Sequence[float]]) -> dict[str, str]:
        self.rung += 1
        ((run, items),) = running.items()
        self.trial.report(statistics.fmean(items), self.rung)
        return {run: "pruned"} if share < 1 and self.trial.should_prune() else {}


def side(name: str, draw: int, out: Path) -> None:
    bench = Bench(out)
    if name == "trimtab":
        trimtab(bench)
    else:
        tpe(bench, draw)
    bench.confirm()
    runs = bench.store.runs()
    print(json.dumps({"way": bench.best, "runs": len(runs), "tokens": sum(r.result.get("size") or 0 for r in runs)}))


def timed(name: str, draw: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as out:
        began = time.monotonic()
        call = [sys.executable, __file__, "--side", name, "--draw", str(draw), "--out", out]
        told = subprocess.run(call, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        return {"side": name, "draw": draw, "seconds": time.monotonic() - began, **json.loads(told)}


def page(rows: Sequence[dict[str, Any]]) -> str:
    by = {s: [r for r in rows if r["side"] == s] for s in SIDES}
    ours, theirs = (statistics.median(r["seconds"] for r in by[s]) for s in SIDES)
    lines = [
        "# The study by the clock",
        "",
        (
            f"{date.today()}, {len(by['tpe'])} interleaved repeats of each side in processes of their own, imports and"
            " confirming seeds included; `bench/study_real.py`. "
        ),
        (
            "trimtab: from its plan; rate, batch, epochs, raced. The other: Optuna TPE + Hyperband around the same"
            " loop, each repeat another draw."
        ),
        "",
        "| side | runs | tokens | seconds | arrived at (rate, batch, epochs) |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['side']} | {r['runs']} | {r['tokens']:,} | {r['seconds']:.0f} |"
        f" {', '.join(f'{v:g}' for v in r['way'])} |"
        for r in rows
    ]
    lines += ["", f"Medians: {theirs:.0f} s against trimtab's {ours:.0f} s: {theirs / ours:.1f} times."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--draw", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.side:
        return side(args.side, args.draw, args.out)
    kept = HERE / "study_real.json"
    rows = json.loads(kept.read_text()) if kept.exists() else []
    for draw in range(len(rows) // 2, args.repeats):
        rows += [timed(name, draw) for name in SIDES]
        print(rows[-2:], flush=True)
        kept.write_text(json.dumps(rows, indent=1) + "\n")
        (HERE / "study_real.md").write_text(page(rows))


if __name__ == "__main__":
    main()
