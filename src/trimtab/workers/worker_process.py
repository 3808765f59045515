"""A worker process: claims the jobs of a study and works at them until none waits. `python -m
trimtab.workers.worker_process OUT STUDY ENTRY`.

ENTRY names a function (store, job) -> None as "module:function". What goes wrong with a job is written beside it and
the next one begun; a worker that was taken for dead, and whose job another has, ends at once.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from trimtab.errors import SpaceError, StoreError, TrimtabError
from trimtab.spec.status import Status
from trimtab.store import Store, owner
from trimtab.store.queue import Job

TRAIN = "trimtab.workers.job:train"
BEAT = 3.0  # seconds between two signs of life
SILENT = 60.0  # without one, after which a worker on another machine counts as dead
Entry = Callable[[Store, Job], None]


def serve(out: str | Path, study: str, entry: str = TRAIN) -> int:
    """Gives the number of jobs that were worked at."""
    store, done = Store(out), 0
    while job := store.queue.claim(owner.me(), study):
        work(store, job, entry)
        done += 1
    return done


def serve_one(out: str | Path, job: str, entry: str = TRAIN) -> None:
    """For a launcher that hands out jobs itself; whoever had it before is dead."""
    store = Store(out)
    known = store.queue.job(job)
    if orphaned(known):
        store.queue.give_back(known, "its worker died")
    if taken := store.queue.claim(owner.me(), job=job):
        work(store, taken, entry)


def work(store: Store, job: Job, entry: str) -> None:
    """One job, with signs of life; what goes wrong is written beside it."""
    mine = str(job.owner)
    with _beating(store, job, mine):
        try:
            _load(entry)(store, job)
        except (StoreError, SpaceError) as error:  # perhaps only for a moment
            store.queue.give_back(job, str(error))
        except TrimtabError as error:
            store.queue.end(job.id, mine, Status.FAILED, str(error))
        except Exception as error:  # a bug, or the device's fault: the next worker may have more luck
            store.queue.give_back(job, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        else:
            store.queue.end(job.id, mine, Status.COMPLETE)


def orphaned(job: Job) -> bool:
    """At work, and nobody there."""
    return job.status == Status.RUNNING and not lives(job)


def lives(job: Job) -> bool:
    """Whether the owner is there: on this machine by its process, elsewhere by its signs of life."""
    there = owner.lives(job.owner)
    return time.time() - (job.beat or 0) < SILENT if there is None else there


@contextlib.contextmanager
def _beating(store: Store, job: Job, mine: str) -> Iterator[None]:
    over = threading.Event()
    heart = threading.Thread(target=_beat, args=(store, job.id, mine, over), daemon=True)
    heart.start()
    try:
        yield
    finally:
        over.set()
        heart.join()


def _beat(store: Store, job: str, mine: str, over: threading.Event) -> None:
    while not over.wait(BEAT):
        with contextlib.suppress(StoreError):  # the store may come back; else the work itself will say so
            if not store.queue.beat(job, mine) and not over.is_set():
                os._exit(3)  # another has it: two must not write one run


def _load(entry: str) -> Entry:
    module, _, name = entry.partition(":")
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    serve(*sys.argv[1:])
