"""What a stretch of work really took. On a card the allocator's own counters; on a processor the profiler's
allocation events."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Measured:
    """Bytes. `reserved` is None on a processor, which has no caching allocator."""

    allocated: int
    reserved: int | None


def peak_of(work: Callable[[], object], resident: Iterable[torch.Tensor], device: str = "cpu") -> Measured:
    """Peak while `work` runs. `resident` is what was there before (only looked at on a processor)."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        work()
        torch.cuda.synchronize()
        return Measured(torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved())
    before = sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in resident}.values())
    return Measured(before + _highest(work), None)


def _highest(work: Callable[[], object]) -> int:
    """Highest sum of the processor's allocations and frees, from zero at the start."""
    gc.collect()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    inner = profiler.profiler
    assert inner is not None
    assert inner.kineto_results is not None
    events = [e for e in inner.kineto_results.events() if e.name() == "[memory]"]
    now = highest = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        highest = max(highest, now)
    return highest
