"""Search of a space by Optuna's samplers: asks for recipes, has them trained as cohorts with a race, tells what they
were.

Optuna decides what to try and nothing else. Its own file in the study's folder keeps the trials (optuna-dashboard
opens it); a search that was cut short trains the trials that were asked for and not told. No torch here but in its
GP sampler.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from trimtab.analysis.card import drift_of, seen_by
from trimtab.analysis.intervals import Raw
from trimtab.planning.design import with_settings
from trimtab.planning.space import Dimension
from trimtab.spec.budget import Budget
from trimtab.spec.durations import in_words
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Cause, Status
from trimtab.spec.words import words_of
from trimtab.spec.workload import Workload
from trimtab.store import RunRow
from trimtab.store.rows import best_of
from trimtab.tuning.choice import Outcome, worse_half
from trimtab.tuning.designed_study import unfit
from trimtab.tuning.desk import Desk
from trimtab.tuning.race import Race
from trimtab.tuning.study_cost import pace, timed

SAMPLERS = ("tpe", "gp", "cmaes", "nsga2", "random", "grid")
Sampler = Literal["tpe", "gp", "cmaes", "nsga2", "random", "grid"]
COHORT = 4  # trials asked for at once
WRECKED = 1e6  # what a sampler is told of a look that ended in no number


class Search:
    """Asks a sampler for recipes until there are enough trials or no time is left."""

    def __init__(
        self,
        desk: Desk,
        base: Recipe,
        space: Sequence[Dimension],
        sampler: Sampler,
        trials: int,
        seconds: float | None,
        budget: Budget,
        screen: bool = False,
        race: bool = True,
        bf16: bool = False,
    ):
        """`screen`: look at trials quickly, and drop the worse half before training; `race`: stop early what is
        clearly worse."""
        self.desk, self.base, self.space, self.sampler, self.trials = desk, base, tuple(space), sampler, trials
        self.limit, self.budget, self.screen, self.race, self.bf16 = seconds, budget, screen, race, bf16
        self.words = words_of(base.task)
        if sampler == "grid":
            self.points = math.prod(len(_grid(d)) for d in space)
            self.trials = min(trials, self.points)
        self.both = sampler == "nsga2"  # loss and drift, neither for the other

    def run(self) -> dict[str, Any]:
        """{"trials", "best", "front", "sentence"}, as stored with the study."""
        study = self._opened()
        self._say_cost(self.trials - len(_told(study)))
        while (left := self.trials - len(_told(study))) > 0 and self._time_left():
            count = min(2 * COHORT if self.screen else COHORT, left)
            asked = self._open_trials(study) or [study.ask(self._distributions()) for _ in range(count)]
            asked = self._screened(study, asked) if self.screen else asked
            asked = self._fitting(study, asked)
            recipes = [self._recipe(t.params) for t in asked]
            outcomes = {o.recipe.run_id: o for o in self.desk.trainer.train(recipes, self._race(study))}
            for trial, recipe in zip(asked, recipes, strict=True):
                self._tell(study, trial, outcomes[recipe.run_id])
            self.desk.tick()
        self._reopen(study)
        result = self._result(study)
        self.desk.say(result["sentence"])
        self.desk.finish(result=result)
        return result

    def _say_cost(self, left: int) -> None:
        """By a few timed micro-batches of the recipe as it is."""
        if left <= 0:
            self.desk.say(f"All of {self.trials} trials are there already; more with --trials")
            return
        expected = pace(timed(self.desk.local, self.base)).seconds([self.base] * left)
        part = f" of the grid's {self.points} points, at random" if self.sampler == "grid" else ""
        most = f", stopped after {in_words(self.limit)}" if self.limit else ""
        self.desk.say(
            f"{left} trial{'' if left == 1 else 's'}{part}{most}; as long as the recipe given they would take about"
            f" {in_words(expected)} one after another{'; losers are stopped before that' if self.race else ''}"
        )

    def _screened(self, study: Any, asked: list[Any]) -> list[Any]:
        """Those that a quick look leaves; the sampler is told what the others looked like. The recipe as it is
        always stays, and what an earlier process has looked at is not looked at again."""
        new = [t for t in asked if "screened" not in t.user_attrs]
        recipes = [self._recipe(t.params) for t in new]
        proxies = self.desk.local.screen(recipes) if new else []
        dropped = {r.run_id for r in worse_half(recipes, proxies)} - {self.base.run_id}
        for trial, recipe, loss in zip(new, recipes, proxies, strict=True):
            out, live = recipe.run_id in dropped, _live(study, trial.number)
            live.set_user_attr("screened", out)
            if out:
                if not self.both:
                    live.report(min(loss, WRECKED), 0)
                study.tell(trial.number, state=_state("PRUNED"))
        if new:
            self.desk.say(f"A quick look at {len(new)} trials dropped {len(dropped)}")
        return [t for t in asked if self._recipe(t.params).run_id not in dropped]

    def _time_left(self) -> bool:
        """As long as one more generation is likely to fit, by the pace so far."""
        if self.limit is None:
            return True
        done = len([r for r in self.desk.store.runs(self.desk.study) if r.status.is_finished()])
        each = self.desk.seconds() / done if done else 0.0
        fits = self.desk.seconds() + each * COHORT <= self.limit
        if not fits:
            earlier = f", {in_words(self.desk.earlier)} of them by earlier calls" if self.desk.earlier else ""
            self.desk.say(f"{in_words(self.limit)} are used{earlier}: no more trials")
        return fits

    # what Optuna is told

    def _opened(self) -> Any:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        folder = Path(self.desk.store.folder) / self.desk.study
        folder.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            storage=f"sqlite:///{folder / 'optuna.db'}", study_name=self.desk.study, load_if_exists=True,
            directions=["minimize"] * (2 if self.both else 1),
        )  # fmt: skip
        # a search that goes on must not draw again what it drew at first
        study.sampler = self._sampler(optuna, (self.base.seed + len(study.trials)) % 2**31)
        if not study.trials:
            for point in self._first():
                study.enqueue_trial(point)
        return study

    def _first(self) -> list[dict[str, Any]]:
        """What is tried before the sampler is asked: the recipe as it is, or the whole grid."""
        if self.sampler == "grid":
            values = list(itertools.product(*(_grid(d) for d in self.space)))
            random.Random(self.base.seed).shuffle(values)  # fewer trials than points are no corner of the grid
            return [dict(zip((d.name for d in self.space), v, strict=True)) for v in values]
        start = {d.name: getattr(self.base, d.name) for d in self.space}
        return [start] if all(_inside(d, start[d.name]) for d in self.space) else []

    def _sampler(self, optuna: Any, seed: int) -> Any:
        s = optuna.samplers
        return {
            "tpe": lambda: s.TPESampler(seed=seed, n_startup_trials=2 * len(self.space), multivariate=True),
            "gp": lambda: s.GPSampler(seed=seed, n_startup_trials=2 * len(self.space)),
            "cmaes": lambda: s.CmaEsSampler(seed=seed),
            "nsga2": lambda: s.NSGAIISampler(seed=seed, population_size=2 * COHORT),
            "random": lambda: s.RandomSampler(seed=seed),
            "grid": lambda: s.RandomSampler(
                seed=seed
            ),  # its points are enqueued: Optuna's GridSampler cannot be asked and told
        }[self.sampler]()

    def _distributions(self) -> dict[str, Any]:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        def of(d: Dimension) -> Any:
            if d.values:
                return CategoricalDistribution(d.values)
            return (
                IntDistribution(int(d.low), int(d.high), log=d.log)
                if d.whole
                else FloatDistribution(d.low, d.high, log=d.log)
            )

        return {d.name: of(d) for d in self.space}

    def _open_trials(self, study: Any) -> list[Any]:
        """Asked for by an earlier process and never told."""
        return [t for t in study.trials if t.state.name == "RUNNING"]

    def _tell(self, study: Any, trial: Any, outcome: Outcome) -> None:
        live = _live(study, trial.number)
        rungs = self.desk.store.evaluations(outcome.recipe.run_id)
        live.set_user_attr("run", outcome.recipe.run_id)
        live.set_user_attr("cause", outcome.cause)
        for key, over in (constraints_of(rungs[-1]["pulse"], self.budget) if rungs else {}).items():
            if key not in live.constraints:  # an earlier process may have come this far
                live.set_constraint(key, over)
        aims = [outcome.loss, outcome.drift] if self.both else [outcome.loss]
        if outcome.items and None not in aims:
            study.tell(trial.number, aims)
        else:
            study.tell(trial.number, state=_state("FAIL"))

    def _recipe(self, params: Mapping[str, Any]) -> Recipe:
        return with_settings(
            self.base, {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in params.items()}
        )

    def _race(self, study: Any) -> Race | None:
        """Against the finished trials at the same share; with two aims only by who is better in both."""
        if not self.race:
            return None
        ended = [t.user_attrs for t in _told(study)]
        against = tuple(a["run"] for a in ended if a.get("cause") is None and "run" in a)
        return Race(against, both=self.both)

    def _reopen(self, study: Any) -> None:
        """Where no trial came to its end inside the budget, those that lost a race go on, the best first, until one
        does."""
        while not self._able(rows := self._rows(study)):
            beaten = [r for r in rows if r["cause"] == Cause.RACE and r["inside"]]
            if not beaten:
                return
            best = min(beaten, key=lambda r: r["loss"])["run"]
            self.desk.say(f"No trial ended inside the budget: {best} goes on where it was stopped")
            self.desk.trainer.train([self.desk.store.run(best).recipe], reopen=True)

    def _able(self, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [r for r in rows if r["status"] == Status.COMPLETE and r["inside"] and r["loss"] is not None]

    def _fitting(self, study: Any, asked: list[Any]) -> list[Any]:
        """A trial that does not fit by the forecast is told so and never started."""
        forecast = self.desk.local.forecaster()
        fitting = []
        for trial in asked:
            recipe = self._recipe(trial.params)
            if why := unfit(forecast, Workload.of_recipe(recipe, self.bf16)):
                self.desk.say(f"Not run: {recipe.run_id} {why}")
                study.tell(trial.number, state=_state("FAIL"))
            else:
                fitting.append(trial)
        return fitting

    def _rows(self, study: Any) -> list[dict[str, Any]]:
        """A recipe that was asked for twice is one run."""
        by_run = {t.user_attrs["run"]: t for t in reversed(_told(study)) if "run" in t.user_attrs}
        return [self._row(t, self.desk.store.run(run)) for run, t in reversed(by_run.items())]

    def _row(self, trial: Any, run: RunRow) -> dict[str, Any]:
        evaluations = self.desk.store.evaluations(run.id)
        best = best_of(evaluations)
        over = constraints_of(evaluations[-1]["pulse"], self.budget) if evaluations else {"evaluated": 1.0}
        cause = run.result.get("cause")
        return {
            "run": run.id,
            "params": trial.params,
            "loss": best and best["loss"],
            "drift": best and drift_of(best["pulse"], self.words),
            "status": run.status,
            "inside": max(over.values(), default=0.0) <= 0 and cause != Cause.BUDGET,
            "cause": cause,
            "reason": run.reason,
        }

    def _result(self, study: Any) -> dict[str, Any]:
        rows = self._rows(study)
        able = self._able(rows)
        best_row = min(able, key=lambda r: r["loss"]) if able else None
        return {
            "kind": "search",
            "question": f"Which {', '.join(d.name for d in self.space)}?",
            "sampler": self.sampler,
            "trials": rows,
            "screened": sum(bool(t.user_attrs.get("screened")) for t in _told(study)),
            "best": best_row,
            "front": [r["run"] for r in _front(able)],
            "words": self.words.shown(),
            "sentence": _sentence(rows, best_row),
        }


def constraints_of(pulse: Raw, budget: Budget) -> dict[str, float]:
    """How far each hard limit that a pulse can see is certainly overstepped, by the bound and not by the point; at
    most 0 is inside."""
    values = {}
    for key, limit, interval in seen_by(pulse, budget):
        if limit.max is not None:
            values[f"{key} max"] = interval.below - limit.max
        if limit.min is not None:
            values[f"{key} min"] = limit.min - interval.above
    return values


def _front(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Runs that no other beats in loss and drift at once."""
    known = [r for r in rows if r["drift"] is not None]
    return [
        r for r in known if not any(o["loss"] <= r["loss"] and o["drift"] <= r["drift"] and o is not r for o in known)
    ]


def _sentence(rows: Sequence[Mapping[str, Any]], best: Mapping[str, Any] | None) -> str:
    if best is None:
        return f"{len(rows)} trials and none was trained to its end inside the budget."
    settings = ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in best["params"].items())
    stopped = sum(r["status"] != Status.COMPLETE for r in rows)
    return (
        f"Best of {len(rows)} trials ({stopped} stopped early): {settings}, validation loss {best['loss']:.3f}. One"
        " seed, and the best of many: it promises more than it holds; trimtab study repeat tells."
    )


def _live(study: Any, number: int) -> Any:
    """A trial that can be written to, also one that an earlier process asked for."""
    import optuna

    return optuna.trial.Trial(study, study.trials[number]._trial_id)


def _told(study: Any) -> list[Any]:
    return [t for t in study.trials if t.state.is_finished()]


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]


def _inside(d: Dimension, value: Any) -> bool:
    return value in d.values if d.values else d.low <= value <= d.high


def _grid(d: Dimension) -> list[Any]:
    """Three values of a range."""
    if d.values:
        return list(d.values)
    middle = (d.low * d.high) ** 0.5 if d.log else (d.low + d.high) / 2
    return [d.low, round(middle) if d.whole else middle, d.high]
