"""A lab whose runs are trained by others: what it leaves must be what the worker in this process leaves, on a file and on a server."""

import pytest
import torch

from trimtab.api import Quiet
from trimtab.errors import Stopped
from trimtab.run.machine import Machine
from trimtab.run.material import gather
from trimtab.spec.budget import Budget
from trimtab.spec.status import Status
from trimtab.store import Store
from trimtab.store.engine import keep_at
from trimtab.tune.launch import Local
from trimtab.tune.launched import Launched
from trimtab.tune.worker import Worker

HERE = Machine("cpu", "test", 1, 1, 1.0, False)


class Watcher(Quiet):
    def __init__(self):
        self.steps, self.notes = [], []

    def step(self, run, numbers):
        self.steps.append((run, numbers))

    def note(self, text):
        self.notes.append(text)


def lab(out, data, watcher=None, workers=2):
    store = Store(out)
    store.open_study("s", {})
    worker = Worker(store, gather("bundled:tiny", data), HERE, Quiet(), study="s", mode="certify")
    torch.set_num_threads(1)
    asked = {
        "model": "bundled:tiny",
        "data": data,
        "mode": "certify",
        "method": "lora",
        "bf16": False,
        "threads": 1,
        "save_every": 0.0,
        "trunk": True,
    }
    launcher = Local([{}] * workers)
    return store, worker, Launched(worker, store, "s", launcher, Budget(), asked, watcher or Quiet(), workers=workers)


def truth(store):
    runs = {r.id: (r.status, r.result["best_loss"], r.result["step"]) for r in store.runs()}
    steps = {r: [(s["step"], s["loss"]) for s in store.steps(r)] for r in runs}
    return runs, steps, {r: [(e["step"], e["items"], e["pulse"]) for e in store.evaluations(r)] for r in runs}


def test_worker_processes_leave_what_this_process_leaves(tmp_path, small_file, recipe):
    recipes = [recipe.but(seed=s, data=str(small_file)) for s in (1, 2, 3)]
    recipes.append(recipe.but(target_modules=["no_such_layer"]))
    watcher = Watcher()
    store, _, launched = lab(tmp_path / "a", str(small_file), watcher)
    found = launched.train(recipes)
    here, worker, _ = lab(tmp_path / "b", str(small_file))
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


def test_a_study_that_was_stopped_says_so_and_goes_on(tmp_path, small_file, recipe):
    store, _, launched = lab(tmp_path, str(small_file), workers=1)
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
    store.open_study("s", {})
    (found,) = launched.train([long])
    assert found.status == Status.COMPLETE


def test_on_a_server(tmp_path, server_url, small_file, recipe):
    keep_at(tmp_path / "a", server_url)
    store, _, launched = lab(tmp_path / "a", str(small_file), workers=1)
    found = launched.train([recipe])
    here, worker, _ = lab(tmp_path / "b", str(small_file))
    assert found == worker.train([recipe])
    assert truth(store) == truth(here)
