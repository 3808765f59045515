"""Jobs: cohorts that wait for whoever works. Takes and gives plain rows; a job has one owner at a time, whatever
dies.

A worker claims a waiting job, says now and then that it lives, and ends it. A job whose owner is gone waits again;
one that outlived three owners has failed. Works the same on a file and on a server.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, insert, select, update

from trimtab.spec.status import Status
from trimtab.store import schema as t

ATTEMPTS = 3  # owners that a job may outlive


@dataclass(frozen=True)
class Job:
    """A cohort to train: whose it is, how often it was tried, when its owner was last heard of."""

    id: str
    study: str | None
    created: float
    cohort: str
    runs: list[str]
    asked: dict[str, Any]
    status: Status
    owner: str | None
    beat: float | None
    attempts: int
    reason: str | None


class Queue:
    """`read` and `write` are the store's own, with its sentences for what can go wrong."""

    def __init__(
        self, read: Callable[[Select[Any]], list[Any]], write: Callable[[], AbstractContextManager[Connection]]
    ):
        self._read, self._write = read, write

    def add(self, study: str | None, cohort: str, runs: Sequence[str], asked: dict[str, Any]) -> Job:
        """The job of this cohort, waiting; one that somebody works at is left alone."""
        job = hashlib.sha256(f"{study} {cohort}".encode()).hexdigest()[:12]
        row = {
            "study": study,
            "cohort": cohort,
            "runs": list(runs),
            "asked": asked,
            "status": Status.WAITING,
            "owner": None,
            "beat": None,
            "attempts": 0,
            "reason": None,
        }
        with self._write() as c:
            known = c.execute(select(t.jobs.c.status).where(t.jobs.c.id == job)).first()
            if known is None:
                c.execute(insert(t.jobs).values(id=job, created=time.time(), **row))
            elif known.status != Status.RUNNING:
                c.execute(update(t.jobs).where(t.jobs.c.id == job).values(row))
        return self.job(job)

    def job(self, job: str) -> Job:
        """StoreError where there is none."""
        (row,) = self.jobs(ids=[job])
        return row

    def jobs(
        self, study: str | None = None, status: Status | None = None, ids: Sequence[str] | None = None
    ) -> list[Job]:
        """Oldest first."""
        query = select(t.jobs).order_by(t.jobs.c.created, t.jobs.c.id)
        query = query if study is None else query.where(t.jobs.c.study == study)
        query = query if status is None else query.where(t.jobs.c.status == status)
        query = query if ids is None else query.where(t.jobs.c.id.in_(ids))
        return [Job(**{**r._mapping, "status": Status(r.status)}) for r in self._read(query)]

    def claim(self, owner: str, study: str | None = None, job: str | None = None) -> Job | None:
        """A waiting job that is the owner's from now on; None where there is none."""
        for waiting in self.jobs(study, Status.WAITING, None if job is None else [job]):
            if self._take(waiting, owner):
                return self.job(waiting.id)
        return None

    def _take(self, job: Job, owner: str) -> bool:
        """False where somebody else was quicker."""
        with self._write() as c:
            mine = {"status": Status.RUNNING, "owner": owner, "beat": time.time(), "attempts": job.attempts + 1}
            where = (t.jobs.c.id == job.id) & (t.jobs.c.status == Status.WAITING)
            return c.execute(update(t.jobs).where(where).values(mine)).rowcount == 1

    def beat(self, job: str, owner: str) -> bool:
        """The owner lives; False where the job is not its any more, and it must stop."""
        return self._change(job, owner, {"beat": time.time()})

    def end(self, job: str, owner: str, status: Status, reason: str | None = None) -> bool:
        """False where another owns it by now."""
        return self._change(job, owner, {"status": status, "reason": reason})

    def give_back(self, job: Job, why: str) -> Job:
        """Its owner is gone: it waits again, or has failed after as many owners as may be."""
        last = job.attempts >= ATTEMPTS
        state = Status.FAILED if last else Status.WAITING
        reason = f"{why}; {job.attempts} workers died at it" if last else why
        self._change(job.id, job.owner, {"status": state, "owner": None, "reason": reason})
        return self.job(job.id)

    def release(self, job: Job) -> None:
        """Waits again, and nobody died at it: its worker was told to stop."""
        values = {"status": Status.WAITING, "owner": None, "attempts": max(0, job.attempts - 1)}
        self._change(job.id, job.owner, values)

    def cancel(self, study: str, why: str) -> None:
        """What waits does not start any more."""
        with self._write() as c:
            where = (t.jobs.c.study == study) & (t.jobs.c.status == Status.WAITING)
            c.execute(update(t.jobs).where(where).values(status=Status.STOPPED, reason=why))

    def _change(self, job: str, owner: str | None, values: dict[str, Any]) -> bool:
        with self._write() as c:
            where = (t.jobs.c.id == job) & (t.jobs.c.owner == owner) & (t.jobs.c.status == Status.RUNNING)
            return c.execute(update(t.jobs).where(where).values(values)).rowcount == 1
