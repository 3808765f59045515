"""Launchers: have jobs worked at until each has ended, by processes of this machine or by Ray. They know jobs and
workers, not what is worked at. No torch here.

A worker that dies gives its job back; what it had saved is where the next one goes on. A tuner that dies leaves the
queue: the next one finds workers that still live and waits for them.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from trimtab.errors import RunError, SpecError
from trimtab.spec.status import Status
from trimtab.store import Store
from trimtab.store.queue import ATTEMPTS, Job
from trimtab.workers import worker_process

POLL = 0.5  # seconds
ANSWER = 5.0  # seconds that a cluster has to answer
FUTILE = 3  # starts of each worker without a job being taken, after which something is wrong with all of them
LOG = "workers.log"
Tick = Callable[[], None]


class Launcher(Protocol):
    """Whoever has jobs worked at."""

    def launch(self, store: Store, study: str, jobs: Sequence[str], tick: Tick, /) -> None:
        """Returns when every job has ended, however; `tick` is called about twice a second. Interrupted, it stops
        its workers."""


class Processes:
    """A worker process for each of `places`, which are what is added to its environment (a device, threads)."""

    def __init__(self, places: Sequence[Mapping[str, str]], entry: str = worker_process.TRAIN):
        self.places, self.entry = places, entry

    def launch(self, store: Store, study: str, jobs: Sequence[str], tick: Tick) -> None:
        workers: list[subprocess.Popen[bytes] | None] = [None] * len(self.places)
        futile = 0  # workers that were started since one last took a job
        try:
            while open_jobs := _still_open(store, jobs):
                for i, worker in enumerate(workers):
                    if worker is not None and worker.poll() is not None:
                        workers[i] = None
                for job in filter(worker_process.orphaned, open_jobs):
                    store.queue.give_back(job, "its worker died")
                waiting = sum(j.status == Status.WAITING for j in open_jobs)
                busy = sum(w is not None for w in workers) - sum(j.status == Status.RUNNING for j in open_jobs)
                futile = 0 if len(open_jobs) > waiting else futile
                for i in [i for i, w in enumerate(workers) if w is None][: max(0, waiting - max(0, busy))]:
                    workers[i] = self._start(store, study, self.places[i])
                    futile += 1
                if futile > FUTILE * len(workers):
                    raise RunError(f"worker processes end before they take a job: {_last_words(store)}")
                tick()
                time.sleep(POLL)
        finally:
            _end(workers)
            for job in filter(worker_process.orphaned, _still_open(store, jobs)):
                store.queue.release(job)

    def _start(self, store: Store, study: str, place: Mapping[str, str]) -> subprocess.Popen[bytes]:
        log = Path(store.folder) / LOG
        with log.open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "trimtab.workers.worker_process", str(store.folder), study, self.entry],
                env={**os.environ, **place}, stdout=said, stderr=said, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip


class OnRay:
    """Each job a Ray task. `address` of a cluster; None starts one here."""

    def __init__(self, address: str | None, resources: Mapping[str, Any], entry: str = worker_process.TRAIN):
        self.address, self.resources, self.entry = address, dict(resources), entry

    def launch(self, store: Store, _study: str, jobs: Sequence[str], tick: Tick) -> None:
        ray = _ray(self.address)
        # A node that dies takes its tasks along: Ray starts them elsewhere, and they find the job given back.
        task = ray.remote(max_retries=ATTEMPTS, **self.resources)(worker_process.serve_one)
        folder = str(Path(store.folder).resolve())
        pending = {task.remote(folder, j.id, self.entry): j.id for j in _still_open(store, jobs)}
        try:
            while pending:
                done, _ = ray.wait(list(pending), timeout=POLL)
                for ref in done:
                    job = pending.pop(ref)
                    why = _failure(ray, ref)
                    left = store.queue.job(job)
                    if worker_process.orphaned(left):
                        left = store.queue.give_back(left, why or "its worker died")
                    if not left.status.is_finished():
                        pending[task.remote(folder, job, self.entry)] = job
                tick()
        except BaseException:
            for ref in pending:
                ray.cancel(ref, force=True)
            raise


def _ray(address: str | None) -> Any:
    try:
        import ray
    except ModuleNotFoundError:
        raise SpecError("--on ray", ["Ray is missing; pip install 'trimtab[ray]', or leave --on out"]) from None
    if not ray.is_initialized():
        _answers(address)
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                include_dashboard=False if address is None else None,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise RunError(
                f"no Ray cluster at {address} ({str(error).splitlines()[0]}); start one with: ray start --head"
            ) from None
    return ray


def _answers(address: str | None) -> None:
    """RunError where nobody listens: Ray itself would try for a minute and more, in its own words."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER).close()
    except (OSError, OverflowError) as error:
        raise RunError(f"no Ray cluster at {address} ({error}); start one with: ray start --head") from None


def _failure(ray: Any, ref: Any) -> str | None:
    try:
        ray.get(ref)
    except Exception as error:
        return f"{type(error).__name__} of Ray: its worker or node died"
    return None


def _last_words(store: Store) -> str:
    path = Path(store.folder) / LOG
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines() if path.exists() else []
    return f"{lines[-1] if lines else 'they say nothing'} ({path})"


def _still_open(store: Store, jobs: Sequence[str]) -> list[Job]:
    return [j for j in store.queue.jobs(ids=jobs) if not j.status.is_finished()]


def _end(workers: Sequence[subprocess.Popen[bytes] | None]) -> None:
    """Our own processes, by their handles; what they had saved stays."""
    for worker in workers:
        if worker is not None and worker.poll() is None:
            worker.terminate()
    for worker in workers:
        if worker is not None:
            try:
                worker.wait(10)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


@dataclass(frozen=True)
class Place:
    """Where jobs are worked at: `on` as typed, how many workers, `devices` of this machine, threads and bytes of
    each."""

    on: str
    count: int
    devices: int
    threads: int
    memory: int | None


def _processes(place: Place) -> Launcher:
    return Processes([_own_device(i, place.devices) for i in range(place.count)])


def _ray_tasks(place: Place) -> Launcher:
    """What Ray keeps free for a job; on cards it does not count memory, so a job has one to itself."""
    inside = "RAY_ADDRESS" in os.environ
    address = place.on if place.on != "ray" else "auto" if inside else None
    if place.devices:
        return OnRay(address, {"num_cpus": 1, "num_gpus": 1})
    return OnRay(address, {"num_cpus": place.threads, **({"memory": place.memory} if place.memory else {})})


# By the word of --on; any other word is the address of a Ray cluster. A launcher more is a row here and in
# spec/options.where_problems.
LAUNCHERS: dict[str, Callable[[Place], Launcher]] = {"local": _processes, "ray": _ray_tasks}


def launcher_at(place: Place) -> Launcher:
    """By the word of --on."""
    return LAUNCHERS.get(place.on, _ray_tasks)(place)


def _own_device(i: int, devices: int) -> dict[str, str]:
    """A worker's own card; none has the others in sight."""
    if not devices:
        return {}
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = seen if len(seen) == devices else [str(d) for d in range(devices)]
    return {"CUDA_VISIBLE_DEVICES": names[i % devices]}
