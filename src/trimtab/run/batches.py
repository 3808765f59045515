"""Which examples make up which optimizer step, and their padded tensors. Takes lengths and a seed, gives indices.

An effective batch is chosen without looking at the micro-batch size, so halving the one and doubling the
accumulation changes nothing but rounding. Nothing here has state: step k is the same after a restart.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from trimtab.data.tokens import Tokens

# Batches are cut from pools of this many, sorted by length: little padding, still a random order.
POOL = 8


@dataclass(frozen=True)
class BatchPlan:
    lengths: tuple[int, ...]
    effective_batch: int
    micro_batch: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.lengths) / self.effective_batch)

    def examples(self, step: int) -> list[int]:
        """Indices of the examples of optimizer step `step` (0-based)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return list(_epoch(self.lengths, self.effective_batch, self.seed, epoch)[place])

    def micro_batches(self, step: int) -> list[list[int]]:
        examples = self.examples(step)
        return [examples[i : i + self.micro_batch] for i in range(0, len(examples), self.micro_batch)]


@lru_cache(maxsize=64)
def _epoch(lengths: tuple[int, ...], batch: int, seed: int, epoch: int) -> list[tuple[int, ...]]:
    rng = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    rng.shuffle(order)
    batches: list[tuple[int, ...]] = []
    for start in range(0, len(order), batch * POOL):
        pool = sorted(order[start : start + batch * POOL], key=lambda i: -lengths[i])
        batches += [tuple(pool[i : i + batch]) for i in range(0, len(pool), batch)]
    rng.shuffle(batches)
    return batches


@dataclass(frozen=True)
class Padded:
    """`ids` and `mask` are [rows, length]; `places` are flat positions whose next token is learned; `targets` those tokens.

    Positions, not a mask: reading a mask makes a card wait, and how many there are is known here anyway (`labels` a row).
    """

    ids: torch.Tensor
    mask: torch.Tensor
    places: torch.Tensor
    targets: torch.Tensor
    labels: tuple[int, ...]

    @property
    def rows(self) -> int:
        return self.ids.shape[0]


def pad(rows: Sequence[Tokens], pad_id: int, device: str | torch.device, length: int | None = None) -> Padded:
    """Right-padded to the longest row, or to `length`."""
    width = length or max(len(r.ids) for r in rows)
    ids = [[*r.ids, *[pad_id] * (width - len(r.ids))] for r in rows]
    mask = [[1] * len(r.ids) + [0] * (width - len(r.ids)) for r in rows]
    learned = [[i for i, label in enumerate(r.labelled[1:]) if label] for r in rows]
    places = [row * width + i for row, found in enumerate(learned) for i in found]
    targets = [r.ids[i + 1] for r, found in zip(rows, learned, strict=True) for i in found]
    a, b, c, d = (torch.tensor(v, dtype=torch.long).to(device) for v in (ids, mask, places, targets))
    return Padded(a, b, c, d, tuple(map(len, learned)))
