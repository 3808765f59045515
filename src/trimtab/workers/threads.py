"""How many threads a cohort is trained with: the machine's free cores, asked again at each cohort and believed once a
real step is quicker so. Takes a machine and a cohort, sets torch's number.

A cohort that goes on after a stop keeps the number that it began with: sums in the same order.
"""

from __future__ import annotations

import time

import torch

from trimtab.run import machine
from trimtab.run.cohort import Cohort
from trimtab.spec.progress import Say
from trimtab.store import Store

LOOKS = 2  # timed steps with each number, the quicker counts


def set_threads(cohort: Cohort, cores: int, store: Store, note: Say) -> None:
    """For this cohort, on a processor; kept with its runs."""
    if cohort.begun:  # where an earlier version began it, nothing is known
        known = (store.run(m.id).result.get("threads") for m in cohort.members)
        threads = next((n for n in known if n), torch.get_num_threads())
    else:
        threads = _quickest(cohort, cores, note)
    torch.set_num_threads(threads)
    for m in cohort.members:
        store.update_run(m.id, result={"threads": torch.get_num_threads()})


def _quickest(cohort: Cohort, cores: int, note: Say) -> int:
    now, free = torch.get_num_threads(), machine.free_cores(cores)
    if free == now:
        return now
    for m in cohort.members:
        m.optimizer.prepare()
    took = {n: _seconds(cohort, n) for n in (now, free)}
    if took[free] >= took[now]:
        return now
    note(f"{free} thread{'s' if free > 1 else ''} from here on: a step takes {took[free] / took[now]:.0%} of its time")
    return free


def _seconds(cohort: Cohort, threads: int) -> float:
    """Of a step over the longest batch, which changes no weight and no draw."""
    torch.set_num_threads(threads)
    times = []
    for _ in range(LOOKS):
        began = time.perf_counter()
        cohort.rehearse()
        times.append(time.perf_counter() - began)
    return min(times)
