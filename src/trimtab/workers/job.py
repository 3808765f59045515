"""What a worker does with a job: train its cohort, as the job asks. The only part of launching that loads torch.

The model stays in memory between the jobs of one study.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from trimtab.run import machine, material
from trimtab.spec.progress import SILENT, silent
from trimtab.store import Store
from trimtab.store.queue import Job
from trimtab.tuning.race import Race
from trimtab.tuning.run_state import is_due
from trimtab.workers.specs import JobSpec
from trimtab.workers.worker import Worker


def train(store: Store, job: Job) -> None:
    """The cohort of a job, as it asks. Raises what training raises."""
    asked = JobSpec.model_validate(job.asked)
    worker = _worker(store, job.study, asked)
    recipes = [r.recipe for r in map(store.run, job.runs) if is_due(store, r, worker.spec.stopping, reopen=True)]
    for recipe in recipes:
        worker.material.named_in(recipe)  # raises where this machine holds other files under the same names
    race = Race(asked.against, both=asked.both) if asked.against is not None else None
    if recipes:
        worker.train_cohort(job.cohort, recipes, race)


_kept: list[tuple[tuple[Path, str | None, JobSpec], Worker]] = []


def _worker(store: Store, study: str | None, asked: JobSpec) -> Worker:
    """Silent: the one who shows progress reads it from the store."""
    key = (store.folder, study, asked.machine_part)
    if not _kept or _kept[0][0] != key:
        _kept.clear()
        os.chdir(asked.where)
        what = _material(asked.model, asked.data, asked.worker.task)
        _kept.append((key, Worker(store, what, machine.look(asked.threads), SILENT, asked.worker, study)))
    return _kept[0][1]


@lru_cache(maxsize=1)
def _material(model: str, data: str, task: str) -> material.Material:
    return material.load_material(model, data, silent, task)
