"""What this machine is good at: device, threads by free cores, whether bfloat16 is fast. Takes nothing, gives facts."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Idle OpenMP threads spin by default: with other load, two threads were measured up to ten times slower than one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler greets on every start

import psutil
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from trimtab.planning.precision import cpu_has_bf16


@dataclass(frozen=True)
class Machine:
    """What runs are trained on: device, threads, bytes of memory, whether bfloat16 is fast."""

    device: str
    name: str
    cores: int
    threads: int
    memory: int  # bytes
    bf16: bool

    @property
    def memory_gib(self) -> float:
        """Memory in GiB."""
        return round(self.memory / 2**30, 1)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "memory_gib": self.memory_gib}

    def in_bf16(self, wanted: bool | None) -> bool:
        """What a recipe's bf16 means here: null is whatever this machine computes fast."""
        return self.bf16 if wanted is None else wanted


def look(threads: int | None = None) -> Machine:
    """`threads` overrides the choice: a resumed study computes with the number that it began with."""
    cuda = torch.cuda.is_available()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(
        device="cuda" if cuda else "cpu",
        name=torch.cuda.get_device_name() if cuda else _cpu_name(),
        cores=cores,
        threads=threads or free_cores(cores),
        memory=torch.cuda.get_device_properties(0).total_memory if cuda else psutil.virtual_memory().total,
        bf16=torch.cuda.is_bf16_supported(including_emulation=False) if cuda else cpu_has_bf16(),
    )


def free_cores(cores: int) -> int:
    """Cores that are idle now, or at work for somebody of low priority, if they really are quicker together than one
    alone: a neighbour can make them ten times slower."""
    now = psutil.cpu_times_percent(interval=0.3)
    open_to_us = now.idle + getattr(now, "iowait", 0.0) + getattr(now, "nice", 0.0)  # the last two: Linux
    free = max(1, round(cores * open_to_us / 100))
    return free if free == 1 or _seconds(free) < _seconds(1) else 1


def _seconds(threads: int) -> float:
    """Some small products, as training makes them; the median of five."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    x, times = torch.ones(256, 1024), []
    for _ in range(6):
        began = time.perf_counter()
        for _ in range(20):
            x @ x.T
        times.append(time.perf_counter() - began)
    torch.set_num_threads(before)
    return statistics.median(times[1:])


def flops(here: Machine) -> float:
    """Of a large product in the type that is fast here, a multiply-add counted as two: the best of five. Infinite on a
    card, which is not where time is short."""
    if here.device != "cpu":
        return math.inf
    return 2 * 1024**3 / min(products(1024, torch.bfloat16 if here.bf16 else torch.float32, here.device, least=5))


def products(size: int, dtype: torch.dtype, device: str, seconds: float = 0.0, least: int = 3) -> list[float]:
    """Seconds of each of several products of square matrices, for so long and so many at least."""
    x, took = torch.ones(size, size, dtype=dtype, device=device), list[float]()
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or len(took) < least:
        start = time.perf_counter()
        x @ x
        if device == "cuda":
            torch.cuda.synchronize()
        took.append(time.perf_counter() - start)
    return took


def accelerator(device: str, autocast: str) -> Accelerator:
    """Of a device, with this autocast. The library allows one device and precision a process; we may need two, one
    after another."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=device == "cpu", mixed_precision=autocast)


def versions() -> dict[str, str]:
    """What decides the numbers: the report prints them."""
    packages = ("trimtab", "torch", "transformers", "peft", "accelerate")
    return {"python": platform.python_version(), **{p: version(p) for p in packages}}


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "CPU"
