"""A Trainer whose runs are trained elsewhere: it puts cohorts into the queue, has a launcher see to them, and shows
what the store says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from trimtab.analysis.card import drift_of
from trimtab.spec.progress import Progress
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Status
from trimtab.spec.words import words_of
from trimtab.store import RunRow, Store
from trimtab.store.queue import Job
from trimtab.tuning.choice import Outcome
from trimtab.tuning.race import Race
from trimtab.tuning.run_state import cohorts, give_up, is_due, outcome, raise_if_stopped
from trimtab.workers.launchers import Launcher
from trimtab.workers.specs import JobSpec


class RemoteTrainer:
    """`job` is what each of the workers is told, see workers/job.py."""

    def __init__(self, store: Store, study: str, launcher: Launcher, job: JobSpec, watcher: Progress, workers: int = 1):
        self.store, self.study, self.launcher, self.watcher, self.workers = store, study, launcher, watcher, workers
        self.job, self.budget = job, job.worker.budget

    def train(self, recipes: Sequence[Recipe], race: Race | None = None, reopen: bool = False) -> list[Outcome]:
        rows = [self.store.add_run(r, self.study) for r in recipes]
        due = [r for r in rows if is_due(self.store, r, self.job.worker.stopping, reopen)]
        for row in due:
            self.store.go_on(row.id)
        most = min(self.job.worker.together, -(-len(due) // self.workers)) or 1  # something for every worker
        failed = self._launch(cohorts(due, most), due, race)
        if again := [replace(self.store.run(r), cohort=None) for j in failed if len(j.runs) > 1 for r in j.runs]:
            # one run's error is no reason to lose those that it was trained with
            failed = [j for j in failed if len(j.runs) == 1] + self._launch(cohorts(again, 1), due, race)
        for job in failed:
            give_up(self.store, self.study, job.runs, job.reason or "")
            self.watcher.note(f"{', '.join(job.runs)} failed: {job.reason}")
        raise_if_stopped(self.store, self.study)
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
            self.study, cohort, runs, self.job.but(against=against, both=bool(race and race.both)).as_json()
        )


class Following:
    """Tells a watcher what others wrote into the store."""

    def __init__(self, store: Store, watcher: Progress, jobs: Sequence[Job], race: Race | None):
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
            self.watcher.cohort([r.recipe for r in at_work], {r.id: r.total_steps or 0 for r in at_work})
        for row in at_work:
            self._tell(row)
        self._tell_deaths()

    def _tell_deaths(self) -> None:
        """A job that lost its worker goes on with another; its reason says so until it ends."""
        for job in self.store.queue.jobs(ids=self.jobs):
            deaths = job.attempts - (job.status == Status.RUNNING)
            if job.reason and not job.status.is_finished() and deaths > self.deaths.get(job.id, 0):
                self.deaths[job.id] = deaths
                self.watcher.note(f"{', '.join(job.runs)}: {job.reason}; another goes on from what was saved")

    def _tell(self, row: RunRow) -> None:
        run = row.id
        steps = [(s["step"], 0, s) for s in self.store.steps(run, after=self.steps.get(run, 0))]
        looks = [
            (e["step"], 1, {"evaluation": e["loss"], "drift": drift_of(e["pulse"], words_of(row.recipe.task))})
            for e in self.store.evaluations(run, after=self.evaluations.get(run, 0))
        ]
        self.steps[run] = max((s for s, *_ in steps), default=self.steps.get(run, 0))
        self.evaluations[run] = max((s for s, *_ in looks), default=self.evaluations.get(run, 0))
        for _, _, told in sorted([*steps, *looks], key=lambda t: t[:2]):  # each evaluation after the step it belongs to
            self.watcher.step(run, told)
