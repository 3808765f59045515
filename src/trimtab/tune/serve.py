"""A worker process: claims the jobs of a study and works at them until none waits. `python -m trimtab.tune.serve OUT STUDY ENTRY`.

ENTRY names a function (store, job) -> None as "module:function". What goes wrong with a job is written beside it and the next one begun;
a worker that was taken for dead, and whose job another has, ends at once.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from trimtab.errors import SpaceError, StoreError, TrimtabError
from trimtab.spec.status import Status
from trimtab.store import Store
from trimtab.store.queue import Job

TRAIN = "trimtab.tune.train_job:train"
BEAT = 3.0  # seconds between two signs of life
SILENT = 60.0  # without one, after which a worker on another machine counts as dead
Entry = Callable[[Store, Job], None]


def serve(out: str | Path, study: str, entry: str = TRAIN) -> int:
    """Gives the number of jobs that were worked at."""
    store, owner, done = Store(out), me(), 0
    while job := store.queue.claim(owner, study):
        work(store, job, owner, entry)
        done += 1
    return done


def serve_one(out: str | Path, job: str, entry: str = TRAIN) -> None:
    """For a launcher that hands out jobs itself; whoever had it before is dead."""
    store, owner = Store(out), me()
    known = store.queue.job(job)
    if orphaned(known):
        store.queue.give_back(known, "its worker died")
    if taken := store.queue.claim(owner, job=job):
        work(store, taken, owner, entry)


def work(store: Store, job: Job, owner: str, entry: str) -> None:
    with _beating(store, job, owner):
        try:
            _load(entry)(store, job)
        except (StoreError, SpaceError) as error:  # perhaps only for a moment
            store.queue.give_back(job, str(error))
        except TrimtabError as error:
            store.queue.end(job.id, owner, Status.FAILED, str(error))
        except Exception as error:  # a bug, or the device's fault: the next worker may have more luck
            store.queue.give_back(job, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        else:
            store.queue.end(job.id, owner, Status.COMPLETE)


def me() -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{psutil.Process().create_time():.0f}"


def orphaned(job: Job) -> bool:
    """At work, and nobody there."""
    return job.status == Status.RUNNING and not lives(job)


def lives(job: Job) -> bool:
    """Whether the owner is there: on this machine by its process, elsewhere by its signs of life."""
    host, pid, born = (job.owner or "//").split("/")
    if host != socket.gethostname():
        return time.time() - (job.beat or 0) < SILENT
    try:
        process = psutil.Process(int(pid))
        return f"{process.create_time():.0f}" == born and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError):
        return False


@contextlib.contextmanager
def _beating(store: Store, job: Job, owner: str) -> Iterator[None]:
    over = threading.Event()
    heart = threading.Thread(target=_beat, args=(store, job.id, owner, over), daemon=True)
    heart.start()
    try:
        yield
    finally:
        over.set()
        heart.join()


def _beat(store: Store, job: str, owner: str, over: threading.Event) -> None:
    while not over.wait(BEAT):
        with contextlib.suppress(StoreError):  # the store may come back; else the work itself will say so
            if not store.queue.beat(job, owner) and not over.is_set():
                os._exit(3)  # another has it: two must not write one run


def _load(entry: str) -> Entry:
    module, _, name = entry.partition(":")
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    serve(*sys.argv[1:])
