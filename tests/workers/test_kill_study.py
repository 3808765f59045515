"""kill -9 of everything a study is made of, at random moments: the tuner, its workers, a Ray node, the connections
to its database. Started again it goes on; no run is lost, none is trained twice at once, and the table is that of
the undisturbed study, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, make_url, text

from trimtab.spec.status import Status
from trimtab.store import Store
from trimtab.store.engine import keep_at

SCRIPT = Path(__file__).parent / "study_worker.py"


class Killer:
    """Kills what its `targets` name, one after another at random moments, and counts."""

    def __init__(self, seed, targets):
        self.rng, self.targets, self.done = random.Random(seed), targets, dict.fromkeys(targets, 0)

    def strike(self, process, out):
        """One death; False where there was nothing to kill."""
        kind = self.rng.choice(self.targets)
        struck = getattr(self, kind)(process, out)
        self.done[kind] += struck
        return struck

    def tuner(self, process, _out):
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return True

    def worker(self, _process, out):
        at_work = [j for j in Store(out).queue.jobs(status=Status.RUNNING) if j.owner]
        living = [int(j.owner.split("/")[1]) for j in at_work if psutil.pid_exists(int(j.owner.split("/")[1]))]
        if living:
            os.kill(self.rng.choice(living), signal.SIGKILL)
        return bool(living)

    def connection(self, _process, out):
        url = make_url((out / "store.url").read_text().strip())
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"
        with create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT").connect() as c:
            return bool(c.execute(text(cut), {"name": url.database}).all())


def start(data, out, on):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(data), str(out), on],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until_done(data, out, on, killer=None, kills=0, pause=(1.0, 7.0)):
    """The study's last words; every death is followed by a start where the tuner is gone."""
    process, done = start(data, out, on), 0
    while done < kills:
        time.sleep(killer.rng.uniform(*pause))
        if process.poll() is not None:
            said = process.stdout.read()
            if "DONE" in said:
                return said, done
            # a tuner may end by itself when its database is cut under it: that it says so, and goes on when started
            # again, is the contract
            assert "nothing is lost" in said or "Traceback" not in said, said
            process = start(data, out, on)
            continue
        done += killer.strike(process, out)
        if process.poll() is not None:
            process = start(data, out, on)
    said, _ = process.communicate(timeout=280)
    while "DONE" not in said:
        assert "nothing is lost" in said, said
        process = start(data, out, on)
        said, _ = process.communicate(timeout=280)
    return said, done


def table(out):
    """Everything that must be equal."""
    store = Store(out, create=False)
    runs = {r.id: (r.status, r.result["best_loss"], r.result["step"], r.result["size"]) for r in store.runs()}
    steps = {r: [(s["step"], s["loss"], s["grad_norm"], s["learning_rate"]) for s in store.steps(r)] for r in runs}
    evaluations = {r: [(e["step"], e["items"], e["pulse"]) for e in store.evaluations(r)] for r in runs}
    (study,) = store.studies()
    return runs, steps, evaluations, study.facts.result["cells"], study.facts.result["sentence"]


@pytest.fixture(scope="module")
def undisturbed(small_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    until_done(small_file, out, "local")
    return table(out)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_tuner_and_a_worker_are_killed(undisturbed, small_file, tmp_path):
    killer = Killer(3, ["tuner", "worker"])
    _, done = until_done(small_file, tmp_path, "local", killer, 2, (4.0, 7.0))
    assert done >= 1
    assert table(tmp_path) == undisturbed


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_thirty_deaths_of_tuners_workers_and_connections(undisturbed, small_file, tmp_path, server):
    """On a file and on a server in turn, until 30 deaths."""
    deaths, seed = {"tuner": 0, "worker": 0, "connection": 0}, 0
    while sum(deaths.values()) < 30:
        out, on_server = tmp_path / str(seed), seed % 2 == 1
        if on_server:
            name = f"kill{seed}"
            with create_engine(server, isolation_level="AUTOCOMMIT").connect() as c:
                c.execute(text(f"CREATE DATABASE {name}"))
            keep_at(out, make_url(server).set(database=name).render_as_string(hide_password=False))
        killer = Killer(seed, ["tuner", "worker", *(["connection"] * 3 if on_server else [])])
        until_done(small_file, out, "local", killer, 6)
        assert table(out) == undisturbed
        deaths = {k: v + killer.done.get(k, 0) for k, v in deaths.items()}
        seed += 1
        assert seed < 30, f"the studies end too fast to be killed: {deaths}"
    print(deaths)
    assert min(deaths.values()) >= 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_ray_node_dies_during_a_study(undisturbed, small_file, tmp_path):
    """Two local nodes; the head has room for the tuner alone, so that the jobs run on the second and, after its
    death, on a third."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    try:
        process = start(small_file, tmp_path, cluster.address)
        store, until = Store(tmp_path), time.monotonic() + 120
        while not any(store.steps(r.id) for r in store.runs()):
            assert time.monotonic() < until, "no run began"
            time.sleep(0.2)
        cluster.remove_node(second, allow_graceful=False)
        cluster.add_node(num_cpus=1)
        said, _ = process.communicate(timeout=280)
        assert "DONE" in said, said
    finally:
        cluster.shutdown()
    assert table(tmp_path) == undisturbed
