"""Where runs are trained: in this process, in worker processes, or on Ray. Takes what was asked for, gives the Lab to ask."""

from __future__ import annotations

import os
from typing import Any

import psutil
import torch

from trimtab.errors import SpecError
from trimtab.spec.recipe import Recipe
from trimtab.spec.workload import Workload
from trimtab.tune.lab import Lab
from trimtab.tune.launch import Launcher, Local, OnRay
from trimtab.tune.launched import Launched
from trimtab.tune.worker import Worker

HERE = "here"


def lab(worker: Worker, on: str | None, workers: int | None, largest: Recipe) -> Lab:
    """`on`: "here", "local", "ray" or the address of a Ray cluster; None: worker processes where there are several devices or `workers`
    are asked for. `largest`: the recipe that takes most memory."""
    devices = torch.cuda.device_count()
    on = on or ("local" if workers or devices > 1 else HERE)
    if workers is not None and workers < 1:
        raise SpecError("--workers", [f"got {workers}; at least 1"])
    if on == HERE:
        return worker
    count = workers or max(1, devices)
    need = _bytes(worker, largest)
    if on == "local":
        count = _that_fit(worker, count, need, devices)
    threads = max(1, worker.machine.threads // count) if on == "local" else worker.machine.threads
    asked = {
        "model": worker.model, "data": worker.material.data, "mode": worker.mode, "method": largest.method, "bf16": largest.bf16,
        "threads": threads, "save_every": worker.save_every, "trunk": worker.trunk,
    }  # fmt: skip
    assert worker.study, "only a study is launched"
    launcher: Launcher = (
        Local([_place(i, devices) for i in range(count)])
        if on == "local"
        else OnRay(_address(on), _resources(devices, threads, need))
    )
    return Launched(
        worker, worker.store, worker.study, launcher, worker.budget, asked, worker.watcher, worker.most, count
    )


def _bytes(worker: Worker, recipe: Recipe) -> int | None:
    """Of one worker, by the forecast."""
    ask = worker.ask()
    return ask(Workload.of_recipe(recipe, bool(recipe.bf16))).used if ask else None


def _that_fit(worker: Worker, count: int, need: int | None, devices: int) -> int:
    """Not more workers than the memory of their device holds."""
    if need is None:
        return count
    room = torch.cuda.mem_get_info(0)[0] * devices if devices else psutil.virtual_memory().available
    fitting = max(1, int(room // need))
    if fitting < count:
        worker.watcher.note(
            f"{fitting} of {count} workers: one takes about {need / 2**30:.1f} GiB of the {room / 2**30:.1f} that are free"
        )
    return min(count, fitting)


def _place(i: int, devices: int) -> dict[str, str]:
    """A worker's own card; none has the others in sight."""
    if not devices:
        return {}
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = seen if len(seen) == devices else [str(d) for d in range(devices)]
    return {"CUDA_VISIBLE_DEVICES": names[i % devices]}


def _address(on: str) -> str | None:
    return None if on == "ray" and "RAY_ADDRESS" not in os.environ else "auto" if on == "ray" else on


def _resources(devices: int, threads: int, need: int | None) -> dict[str, Any]:
    """What Ray keeps free for a job; on cards it does not count memory, so a job has one to itself."""
    if devices:
        return {"num_cpus": 1, "num_gpus": 1}
    return {"num_cpus": threads, **({"memory": need} if need else {})}
