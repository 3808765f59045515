"""Which examples make up which optimizer step. Takes sizes and a seed, gives indices.

An effective batch is chosen without looking at the micro-batch size, so halving the one and doubling the
accumulation changes nothing but rounding. Nothing here has state: step k is the same after a restart.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache

# Batches are cut from pools of this many, sorted by size: little padding, still a random order.
POOL = 8


@dataclass(frozen=True)
class BatchPlan:
    """Examples of each step, by sizes and seed alone: the same wherever and whenever it is asked."""

    sizes: tuple[int, ...]
    effective_batch: int
    micro_batch: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps; the last one may have fewer examples."""
        return math.ceil(len(self.sizes) / self.effective_batch)

    def examples(self, step: int) -> list[int]:
        """Indices of the examples of optimizer step `step` (0-based)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return list(_epoch(self.sizes, self.effective_batch, self.seed, epoch)[place])

    def micro_batches(self, step: int) -> list[list[int]]:
        """The examples of a step in passes of at most `micro_batch`."""
        examples = self.examples(step)
        return [examples[i : i + self.micro_batch] for i in range(0, len(examples), self.micro_batch)]


@lru_cache(maxsize=64)
def _epoch(sizes: tuple[int, ...], batch: int, seed: int, epoch: int) -> list[tuple[int, ...]]:
    rng = random.Random(f"{seed}/{epoch}")
    order = list(range(len(sizes)))
    rng.shuffle(order)
    batches: list[tuple[int, ...]] = []
    for start in range(0, len(order), batch * POOL):
        pool = sorted(order[start : start + batch * POOL], key=lambda i: -sizes[i])
        batches += [tuple(pool[i : i + batch]) for i in range(0, len(pool), batch)]
    rng.shuffle(batches)
    return batches
