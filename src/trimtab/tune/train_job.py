"""What a worker does with a job: train its cohort, as the job asks. The only part of launching that loads torch.

The model stays in memory between the jobs of one study.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from trimtab.run import machine, material
from trimtab.spec.budget import Budget
from trimtab.store import Store
from trimtab.store.queue import Job
from trimtab.tune.booking import is_due
from trimtab.tune.race import Race
from trimtab.tune.worker import Worker


class _Silent:
    """The one who shows progress reads it from the store."""

    def cohort(self, *_: Any) -> None: ...
    def step(self, *_: Any) -> None: ...
    def note(self, text: str) -> None: ...
    def done(self) -> None: ...


def train(store: Store, job: Job) -> None:
    worker = _worker(store, job)
    due = [r for r in map(store.run, job.runs) if is_due(store, r, worker.budget, reopen=True)]
    recipes = [r.recipe for r in due]
    for recipe in recipes:
        worker.material.named_in(recipe)  # raises where this machine holds other files under the same names
    against = job.asked["against"]
    race = Race(tuple(against), both=job.asked["both"]) if against is not None else None
    if recipes:
        worker.train_cohort(job.cohort, recipes, race)


_kept: list[tuple[tuple[Any, ...], Worker]] = []


def _worker(store: Store, job: Job) -> Worker:
    a = job.asked
    key = (str(store.folder), job.study, str({k: v for k, v in a.items() if k not in ("against", "both")}))
    if not _kept or _kept[0][0] != key:
        _kept.clear()
        os.chdir(a["where"])  # names of models and data may be relative
        what = _material(a["model"], a["data"])
        _kept.append(
            (
                key,
                Worker(
                    store, what, machine.look(a["threads"]), _Silent(), Budget.model_validate(a["budget"]), job.study, a["mode"],
                    method=a["method"], bf16=a["bf16"], save_every=a["save_every"], trunk=a["trunk"],
                ),
            )
        )  # fmt: skip
    return _kept[0][1]


@lru_cache(maxsize=1)
def _material(model: str, data: str) -> material.Material:
    return material.gather(model, data, lambda _: None)
