"""Where runs are trained: here, or by as many workers as memory holds."""

from types import SimpleNamespace

import psutil
import pytest
import torch

from tests.tuning.fake_trainer import ASKED
from trimtab.run.machine import Machine
from trimtab.spec.recipe import Recipe
from trimtab.store import Store
from trimtab.workers import placement
from trimtab.workers.launchers import OnRay, Processes
from trimtab.workers.remote_trainer import RemoteTrainer
from trimtab.workers.specs import WorkerSpec

GIB = 2**30
LARGEST = Recipe(model="m", data="d", method="full", bf16=True)


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """A worker of a machine with 8 threads and 10 GiB free, whose runs take 4 GiB; what it notes is at `said`."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10 * GIB))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    store, said = Store(tmp_path), []
    store.open_study(ASKED["scan"], "s")
    return SimpleNamespace(
        store=store, study="s", model="m", material=SimpleNamespace(data="d"), spec=WorkerSpec(), said=said,
        machine=Machine("cpu", "test", 8, 8, 16 * GIB, False), watcher=SimpleNamespace(note=said.append),
        forecaster=lambda: lambda _workload: SimpleNamespace(used=4 * GIB),
    )  # fmt: skip


@pytest.mark.parametrize(("on", "workers"), [(None, None), ("here", None), ("here", 3)])
def test_on_one_device_runs_are_trained_here(worker, on, workers):
    assert placement.trainer(worker, on, workers, LARGEST) is worker


def test_workers_that_are_asked_for_share_memory_and_threads(worker):
    made = placement.trainer(worker, None, 4, LARGEST)
    assert isinstance(made, RemoteTrainer)
    assert isinstance(made.launcher, Processes)
    assert (made.workers, made.job.threads) == (2, 4)  # two times 4 GiB in 10, 8 threads for two
    assert worker.said == ["2 of 4 workers: one takes about 4.0 GiB of the 10.0 that are free"]
    assert (made.job.worker.method, made.job.worker.bf16) == ("full", True)  # the base is measured as runs train it


def test_one_worker_there_always_is(worker):
    worker.forecaster = lambda: lambda _workload: SimpleNamespace(used=40 * GIB)
    assert placement.trainer(worker, "local", 2, LARGEST).workers == 1


def test_where_nothing_can_be_forecast_nobody_is_left_out(worker):
    worker.forecaster = lambda: None
    assert placement.trainer(worker, "local", 4, LARGEST).workers == 4
    assert worker.said == []


def test_several_devices_have_a_worker_each(worker, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (5 * GIB, 80 * GIB))
    assert placement.trainer(worker, None, None, LARGEST).workers == 3


def test_a_cluster_counts_memory_itself(worker, monkeypatch):
    monkeypatch.setattr("trimtab.workers.launchers.OnRay.__init__", lambda *_: None)
    made = placement.trainer(worker, "10.0.0.1:6379", 9, LARGEST)
    assert isinstance(made.launcher, OnRay)
    assert (made.workers, made.job.threads) == (9, 8)
