"""A Lab whose runs are trained elsewhere: it puts cohorts into the queue, has a launcher see to them, and shows what the store says.

Everything that is not training is asked of the lab in this process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from trimtab.analysis.card import drift_of
from trimtab.plan.facts import Facts
from trimtab.plan.fitting import Ask
from trimtab.spec.budget import Budget
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Status
from trimtab.store import RunRow, Store
from trimtab.store.queue import Job
from trimtab.tune.booking import TOGETHER, cohorts, give_up, heed, is_due, outcome
from trimtab.tune.choice import Outcome
from trimtab.tune.lab import Lab
from trimtab.tune.launch import Launcher
from trimtab.tune.race import Race


class Launched:
    def __init__(
        self, lab: Lab, store: Store, study: str, launcher: Launcher, budget: Budget, asked: dict[str, Any], watcher: Any, together: int = TOGETHER,
        workers: int = 1,
    ):  # fmt: skip
        """`asked`: model, data, mode, method, bf16, threads and save_every, as train_job.py reads them."""
        self.lab, self.store, self.study, self.launcher, self.watcher = lab, store, study, launcher, watcher
        self.budget, self.together, self.workers = budget, together, workers
        self.asked = {**asked, "budget": budget.model_dump(mode="json"), "where": os.getcwd()}

    def train(self, recipes: Sequence[Recipe], race: Race | None = None, reopen: bool = False) -> list[Outcome]:
        rows = [self.store.add_run(r, self.study) for r in recipes]
        due = [r for r in rows if is_due(self.store, r, self.budget, reopen)]
        for row in due:
            self.store.go_on(row.id)
        most = min(self.together, -(-len(due) // self.workers)) or 1  # something for every worker
        failed = self._launch(cohorts(due, most), due, race)
        if again := [replace(self.store.run(r), cohort=None) for j in failed if len(j.runs) > 1 for r in j.runs]:
            # one run's error is no reason to lose those that it was trained with
            failed = [j for j in failed if len(j.runs) == 1] + self._launch(cohorts(again, 1), due, race)
        for job in failed:
            give_up(self.store, self.study, job.runs, job.reason or "")
            self.watcher.note(f"{', '.join(job.runs)} failed: {job.reason}")
        heed(self.store, self.study)
        return [outcome(self.store, self.store.run(r.run_id), self.budget) for r in recipes]

    def _launch(self, groups: Mapping[str, Sequence[Recipe]], due: Sequence[RunRow], race: Race | None) -> list[Job]:
        """Gives the jobs that failed."""
        jobs = [self._add(name, [r.run_id for r in g], due, race) for name, g in groups.items()]
        if not jobs:
            return []
        following = Following(self.store, self.watcher, jobs, race)
        self.launcher.launch(self.store, self.study, [j.id for j in jobs], following.tick)
        following.tick()
        self.watcher.done()
        return [j for j in (self.store.queue.job(j.id) for j in jobs) if j.status == Status.FAILED]

    def _add(self, cohort: str, runs: list[str], due: Sequence[RunRow], race: Race | None) -> Job:
        against = list(race.beside(due, runs).against) if race else None
        for run in runs:
            self.store.update_run(run, cohort=cohort)
        return self.store.queue.add(
            self.study, cohort, runs, {**self.asked, "against": against, "both": bool(race and race.both)}
        )

    # asked of the lab that is here

    def facts(self) -> Facts:
        return self.lab.facts()

    def ask(self) -> Ask | None:
        return self.lab.ask()

    def describe_data(self, max_length: int) -> dict[str, Any]:
        return self.lab.describe_data(max_length)

    def measure_base(self) -> dict[str, Any]:
        return self.lab.measure_base()

    def seconds_per_token(self, recipe: Recipe) -> float:
        return self.lab.seconds_per_token(recipe)

    def screen(self, recipes: Sequence[Recipe]) -> list[float]:
        return self.lab.screen(recipes)

    def untouched(self, recipe: Recipe) -> list[float]:
        return self.lab.untouched(recipe)

    def measure_task(self, recipes: Sequence[Recipe]) -> dict[str, dict[str, list[float]]]:
        return self.lab.measure_task(recipes)

    def card(self, recipe: Recipe, level: Any = "card") -> dict[str, Any]:
        return self.lab.card(recipe, level)


class Following:
    """Tells a watcher what others wrote into the store."""

    def __init__(self, store: Store, watcher: Any, jobs: Sequence[Job], race: Race | None):
        self.store, self.watcher, self.race = store, watcher, race
        self.jobs, self.runs = [j.id for j in jobs], [r for j in jobs for r in j.runs]
        self.deaths: dict[str, int] = {}
        self.shown: tuple[str, ...] = ()
        self.steps: dict[str, int] = {}
        self.evaluations: dict[str, int] = {}

    def tick(self) -> None:
        if self.race:
            self.race.tick()
        rows = [self.store.run(r) for r in self.runs]
        at_work = [r for r in rows if r.status == Status.RUNNING and r.total_steps]
        if at_work and tuple(r.id for r in at_work) != self.shown:
            self.shown = tuple(r.id for r in at_work)
            self.watcher.cohort([r.recipe for r in at_work], {r.id: r.total_steps for r in at_work})
        for row in at_work:
            self._tell(row.id)
        self._tell_deaths()

    def _tell_deaths(self) -> None:
        """A job that lost its worker goes on with another; its reason says so until it ends."""
        for job in self.store.queue.jobs(ids=self.jobs):
            deaths = job.attempts - (job.status == Status.RUNNING)
            if job.reason and not job.status.is_finished() and deaths > self.deaths.get(job.id, 0):
                self.deaths[job.id] = deaths
                self.watcher.note(f"{', '.join(job.runs)}: {job.reason}; another goes on from what was saved")

    def _tell(self, run: str) -> None:
        for step in self.store.steps(run, after=self.steps.get(run, 0)):
            self.steps[run] = step["step"]
            self.watcher.step(run, step)
        for e in self.store.evaluations(run, after=self.evaluations.get(run, 0)):
            self.evaluations[run] = e["step"]
            self.watcher.step(run, {"evaluation": e["loss"], "kl": drift_of(e["pulse"])})
