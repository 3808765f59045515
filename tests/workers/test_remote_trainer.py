"""A trainer whose runs are trained by others: what it leaves must be what the worker in this process leaves, on a
file and on a server."""

import pytest
import torch

from tests.tuning.fake_trainer import ASKED
from trimtab.errors import Stopped
from trimtab.run.machine import Machine
from trimtab.run.material import load_material
from trimtab.spec.progress import SILENT, Silent
from trimtab.spec.status import Status
from trimtab.store import Store
from trimtab.store.engine import keep_at
from trimtab.workers.launchers import Processes
from trimtab.workers.remote_trainer import RemoteTrainer
from trimtab.workers.specs import JobSpec, WorkerSpec
from trimtab.workers.worker import Worker

HERE = Machine("cpu", "test", 1, 1, 2**30, False)


class Watcher(Silent):
    def __init__(self):
        self.steps, self.notes = [], []

    def step(self, run, numbers):
        self.steps.append((run, numbers))

    def note(self, text):
        self.notes.append(text)


def both(out, data, watcher=SILENT, workers=2):
    """(store, the worker of this process, a trainer that has others train)"""
    store = Store(out)
    store.open_study(ASKED["scan"], "s")
    spec = WorkerSpec(mode="certify", bf16=False, save_every=0.0)
    worker = Worker(store, load_material("bundled:tiny", data), HERE, SILENT, spec, study="s")
    torch.set_num_threads(1)
    job = JobSpec(model="bundled:tiny", data=data, threads=1, worker=spec)
    return store, worker, RemoteTrainer(store, "s", Processes([{}] * workers), job, watcher, workers)


def truth(store):
    runs = {r.id: (r.status, r.result["best_loss"], r.result["step"]) for r in store.runs()}
    steps = {r: [(s["step"], s["loss"]) for s in store.steps(r)] for r in runs}
    return runs, steps, {r: [(e["step"], e["items"], e["pulse"]) for e in store.evaluations(r)] for r in runs}


@pytest.mark.slow  # the same on a server is in the quick suite
def test_worker_processes_leave_what_this_process_leaves(tmp_path, small_file, recipe):
    recipes = [recipe.but(seed=s, data=str(small_file)) for s in (1, 2, 3)]
    recipes.append(recipe.but(target_modules=["no_such_layer"]))
    watcher = Watcher()
    store, _, launched = both(tmp_path / "a", str(small_file), watcher)
    found = launched.train(recipes)
    here, worker, _ = both(tmp_path / "b", str(small_file))
    assert found == worker.train(recipes)
    assert [o.status for o in found] == [Status.COMPLETE] * 3 + [Status.FAILED]
    good, also = ({k: v for k, v in t.items() if k != recipes[3].run_id} for t in (truth_of(store), truth_of(here)))
    assert good == also
    assert any("no_such_layer" in n for n in watcher.notes)
    assert {run for run, _ in watcher.steps} >= {recipes[0].run_id}


def truth_of(store):
    return {
        r.id: (
            [(s["step"], s["loss"]) for s in store.steps(r.id)],
            [(e["step"], e["items"]) for e in store.evaluations(r.id)],
        )
        for r in store.runs()
    }


@pytest.mark.slow
def test_a_study_that_was_stopped_says_so_and_goes_on(tmp_path, small_file, recipe):
    store, _, launched = both(tmp_path, str(small_file), workers=1)
    tick, seen = launched.launcher.launch, []

    def stop_when_it_began(store, study, jobs, said):
        def stop():
            said()
            if not seen and any(store.steps(r) for r in (recipe.run_id,)):
                seen.append(1)
                store.update_study("s", status=Status.STOPPED)
                store.ask_stop(recipe.run_id, "stopped on request")

        tick(store, study, jobs, stop)

    launched.launcher.launch = stop_when_it_began
    long = recipe.but(num_train_epochs=1)
    with pytest.raises(Stopped, match="trimtab study resume s"):
        launched.train([long])
    launched.launcher.launch = tick
    store.open_study(ASKED["scan"], "s")
    (found,) = launched.train([long])
    assert found.status == Status.COMPLETE


def test_on_a_server(tmp_path, server_url, small_file, recipe):
    keep_at(tmp_path / "a", server_url)
    store, _, launched = both(tmp_path / "a", str(small_file), workers=1)
    found = launched.train([recipe])
    here, worker, _ = both(tmp_path / "b", str(small_file))
    assert found == worker.train([recipe])
    assert truth(store) == truth(here)
