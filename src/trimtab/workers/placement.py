"""Where runs are trained: in this process, in worker processes, or on Ray. Takes what was asked for, gives the
Trainer to ask."""

from __future__ import annotations

import psutil
import torch

from trimtab.spec.recipe import Recipe
from trimtab.spec.workload import Workload
from trimtab.tuning.trainer import Trainer
from trimtab.workers.launchers import Place, launcher_at
from trimtab.workers.remote_trainer import RemoteTrainer
from trimtab.workers.specs import JobSpec
from trimtab.workers.worker import Worker

HERE = "here"


def trainer(worker: Worker, on: str | None, workers: int | None, largest: Recipe) -> Trainer:
    """`on`: "here", "local", "ray" or the address of a Ray cluster; None: worker processes where there are several
    devices or `workers` are asked for. `largest`: the recipe that takes most memory. SpecError for less than one
    worker."""
    devices = torch.cuda.device_count()
    on = on or ("local" if workers or devices > 1 else HERE)
    if on == HERE:
        return worker
    need, count = _bytes(worker, largest), workers or max(1, devices)
    if on == "local":
        count = _that_fit(worker, count, need, devices)
    threads = max(1, worker.machine.threads // count) if on == "local" else worker.machine.threads
    told = worker.spec.model_copy(update={"method": largest.method, "bf16": largest.bf16, "adapts": False})
    job = JobSpec(model=worker.model, data=worker.material.data, threads=threads, worker=told)
    assert worker.study, "only a study is launched"
    place = Place(on=on, count=count, devices=devices, threads=threads, memory=need)
    return RemoteTrainer(worker.store, worker.study, launcher_at(place), job, worker.watcher, count)


def _bytes(worker: Worker, recipe: Recipe) -> int | None:
    """Of one worker, by the forecast."""
    forecast = worker.forecaster()
    return forecast(Workload.of_recipe(recipe, bool(recipe.bf16))).used if forecast else None


def _that_fit(worker: Worker, count: int, need: int | None, devices: int) -> int:
    """Not more workers than the memory of their device holds."""
    if need is None:
        return count
    room = torch.cuda.mem_get_info(0)[0] * devices if devices else psutil.virtual_memory().available
    fitting = max(1, int(room // need))
    if fitting < count:
        worker.watcher.note(
            f"{fitting} of {count} workers: one takes about {need / 2**30:.1f} GiB of the {room / 2**30:.1f} that are"
            " free"
        )
    return min(count, fitting)
