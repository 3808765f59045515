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
    """`ids` and `mask` are [rows, length]; `predicts` marks positions whose next token is learned; `targets` are those tokens."""

    ids: torch.Tensor
    mask: torch.Tensor
    predicts: torch.Tensor
    targets: torch.Tensor

    @property
    def rows(self) -> int:
        return self.ids.shape[0]


def pad(rows: Sequence[Tokens], pad_id: int, device: str | torch.device, length: int | None = None) -> Padded:
    """Right-padded to the longest row, or to `length`."""
    width = length or max(len(r.ids) for r in rows)
    ids = torch.full((len(rows), width), pad_id)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    learned = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        n = len(row.ids)
        ids[i, :n] = torch.tensor(row.ids)
        mask[i, :n] = 1
        learned[i, :n] = torch.tensor(row.labelled)
    predicts = torch.zeros_like(learned)
    predicts[:, :-1] = learned[:, 1:]
    targets = ids[:, 1:][learned[:, 1:]]
    return Padded(ids.to(device), mask.to(device), predicts.to(device), targets.to(device))
