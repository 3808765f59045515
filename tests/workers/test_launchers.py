"""One contract for every launcher: processes of this machine, and Ray. The workers are real processes; what they do
is in entries.py."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from trimtab.errors import RunError, SpecError
from trimtab.spec.status import Status
from trimtab.store import Store, owner
from trimtab.workers import launchers, worker_process
from trimtab.workers.launchers import OnRay, Processes

ENTRY = "entries:entry"
HERE = str(Path(__file__).parent)


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def launcher(request, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([HERE, *sys.path]))
    if request.param == "local":
        yield Processes([{}, {}], ENTRY)
        return
    ray = pytest.importorskip("ray")
    yield OnRay(None, {"num_cpus": 1}, ENTRY)
    ray.shutdown()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def add(store, *names, **asked):
    return [store.queue.add("s", n, [f"run of {n}"], asked).id for n in names]


def counts(store, kind):
    return sorted(e["text"] for e in store.events() if e["kind"] == kind)


def test_every_job_ends_whatever_one_of_them_does(launcher, store):
    names = ("a", "bad", "dies once", "b", "always dies")
    jobs = add(store, *names)
    ticks = []
    launcher.launch(store, "s", jobs, lambda: ticks.append(1))
    ended = {j.cohort: (j.status, j.reason) for j in store.queue.jobs("s")}
    assert ended["a"] == ended["b"] == (Status.COMPLETE, None)
    assert ended["dies once"][0] == Status.COMPLETE
    assert ended["bad"] == (Status.FAILED, "this one cannot be trained")
    assert ended["always dies"][0] == Status.FAILED
    assert "workers died at it" in ended["always dies"][1]
    assert counts(store, "ended") == ["a", "b", "dies once"]  # nothing lost, nothing twice
    assert ticks


def test_a_worker_that_is_killed_from_outside(launcher, store, tmp_path):
    jobs = add(store, "waits", **{"for": str(tmp_path / "go")})

    def kill():
        while not (at_work := [j for j in store.queue.jobs("s", Status.RUNNING) if j.beat]):
            time.sleep(0.05)
        os.kill(int(at_work[0].owner.split("/")[1]), signal.SIGKILL)
        (tmp_path / "go").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    launcher.launch(store, "s", jobs, lambda: None)
    killer.join()
    (job,) = store.queue.jobs("s")
    assert (job.status, job.attempts) == (Status.COMPLETE, 2)
    assert counts(store, "ended") == ["waits"]


def test_jobs_that_were_left_by_a_tuner_that_died(launcher, store, tmp_path):
    """One still has a living worker, which is waited for; the other's is gone."""
    add(store, "waits", "orphan", **{"for": str(tmp_path / "go")})
    living = subprocess.Popen([sys.executable, "-m", "trimtab.workers.worker_process", str(tmp_path), "s", ENTRY])
    while not store.queue.jobs("s", Status.RUNNING):
        time.sleep(0.05)
    owner = f"{socket.gethostname()}/999999/1"
    store.queue.claim(owner, "s")
    threading.Timer(1.0, (tmp_path / "go").touch).start()
    launcher.launch(store, "s", [j.id for j in store.queue.jobs("s")], lambda: None)
    living.wait(20)
    assert [j.status for j in store.queue.jobs("s")] == [Status.COMPLETE] * 2
    assert counts(store, "ended") == ["orphan", "waits"]


def test_interrupted_it_stops_its_workers_and_the_jobs_can_go_on(launcher, store, tmp_path):
    jobs = add(store, "waits", **{"for": str(tmp_path / "go")})

    def interrupt():
        if any(e["kind"] == "began" for e in store.events()):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launcher.launch(store, "s", jobs, interrupt)
    (tmp_path / "go").touch()
    launcher.launch(store, "s", jobs, lambda: None)
    assert counts(store, "ended") == ["waits"]


def test_workers_that_cannot_even_begin_are_said(store, monkeypatch):
    monkeypatch.setattr(launchers, "POLL", 0.05)
    monkeypatch.setattr(launchers.sys, "executable", "/bin/false")
    with pytest.raises(RunError, match="end before they take a job"):
        Processes([{}], ENTRY).launch(store, "s", add(store, "a"), lambda: None)


def test_a_worker_whose_job_another_has_ends_at_once(store, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([HERE, *sys.path]))
    add(store, "waits", **{"for": str(tmp_path / "never")})
    code = f"from trimtab.workers import worker_process as w; w.BEAT = 0.1; w.serve({str(tmp_path)!r}, 's', {ENTRY!r})"
    worker = subprocess.Popen([sys.executable, "-c", code])
    while not (taken := store.queue.jobs("s", Status.RUNNING)):
        time.sleep(0.05)
    store.queue.give_back(taken[0], "taken for dead")
    store.queue.claim("elsewhere/1/1", "s")
    assert worker.wait(120) == 3


def test_a_cluster_that_does_not_answer_is_said_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    for name in (address, f"ray://{address}"):
        with pytest.raises(RunError, match=f"no Ray cluster at {name}"):
            launchers._answers(name)
    launchers._answers(None)
    launchers._answers("auto")


def test_who_lives():
    class Of:
        def __init__(self, owner, beat=None):
            self.owner, self.beat = owner, beat

    assert worker_process.lives(Of(owner.me()))
    host, pid, born = owner.me().split("/")
    assert not worker_process.lives(Of(f"{host}/{pid}/{int(born) - 50}"))  # the number was given to another process
    assert worker_process.lives(Of("elsewhere/1/1", time.time()))
    assert not worker_process.lives(Of("elsewhere/1/1", time.time() - 2 * worker_process.SILENT))
    assert not worker_process.lives(Of(None))


def test_ray_that_is_missing_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SpecError, match=r"trimtab\[ray\]"):
        launchers._ray(None)


def test_another_machine_may_help_until_nothing_waits(store, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    add(store, "a", "bad", "b")
    assert worker_process.serve(tmp_path, "s", ENTRY) == 3
    assert counts(store, "ended") == ["a", "b"]
