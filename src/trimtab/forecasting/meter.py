"""Counts the bytes and FLOPs of what runs under it. A dispatch mode over fake or real tensors; gives timeline events.

Storages are counted, not tensors (views are free), rounded up as CUDA's allocator rounds. `transient` says what a
card's kernel would take inside an operator that runs here on fake CPU tensors.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from trimtab.forecasting.timeline import Block, Event, Place

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")
ROUND = 512  # bytes; c10/cuda/CUDACachingAllocator kMinBlockSize


def rounded(size: int, to: int = ROUND) -> int:
    """Up to a multiple of `to` bytes."""
    return -(-size // to) * to


def _order(e: Event) -> tuple[int, str, int, int]:
    home = e.block.place
    return e.size, home.phase, -1 if home.layer is None else home.layer, e.block.n


class _Live(NamedTuple):
    """A storage that is there; `block` is None where it is counted elsewhere."""

    block: Block | None
    size: int
    kind: str
    death: Any


class Meter(TorchDispatchMode):
    """`events` in order, `flops` by place. Tensors that exist already are told with `add`."""

    def __init__(
        self,
        transient: Callable[[Any, Any], int] | None = None,
        flops: Callable[[Any, Any, Any], int] | None = None,
        round_to: int = ROUND,
    ):
        super().__init__()
        self.events: list[Event] = []
        self.flops: Counter[Place] = Counter()
        self.at, self.kind = Place("start"), "other"
        self._transient, self._flops_of, self._round = transient, flops, round_to
        self._live: dict[int, _Live] = {}
        self._made: Counter[Place] = Counter()
        self._marked: set[Block] = set()
        self._kinds: dict[Block, str] = {}

    def go(self, phase: str, layer: int | None = None, kind: str | None = None) -> None:
        """From here on the step is at this place, and new blocks are of this kind."""
        self.at = Place(phase, layer)
        self.kind = kind or self.kind

    def add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._live:
            return
        size = rounded(storage.nbytes(), self._round)
        if not size:
            return
        block = self._new_block()
        self.events.append(Event(self.at, block, size, self.kind))
        self._live[key] = _Live(block, size, self.kind, self._watch(storage))

    def overlook(self, tensors: Iterable[torch.Tensor]) -> None:
        """These were there before and are counted elsewhere; operators in place hand them out again."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if storage._cdata not in self._live:
                self._live[storage._cdata] = _Live(None, 0, "", self._watch(storage))

    def rounded(self, size: int) -> int:
        return rounded(size, self._round)

    def name(self, tensors: Iterable[torch.Tensor], kind: str) -> None:
        """Say what blocks were once it is known: gradients look like any other result while they are made."""
        for tensor in tensors:
            held = self._live.get(tensor.untyped_storage()._cdata)
            if held and held.block:
                self._kinds[held.block] = kind

    def named_events(self) -> list[Event]:
        """In order. What is given back between two takings has no order of its own (sets of tensors die): it gets
        one."""
        named = [Event(e.at, e.block, e.size, self._kinds.get(e.block, e.kind)) for e in self.events]
        events: list[Event] = []
        for (given_back, _), group in groupby(named, key=lambda e: (e.size < 0, e.at)):
            run = list(group)
            events += sorted(run, key=_order) if given_back else run
        return events

    def pulse(self, size: int, kind: str) -> None:
        """Bytes that are taken and given back at once."""
        block = self._new_block()
        self.events += [Event(self.at, block, rounded(size), kind), Event(self.at, block, -rounded(size), kind)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._transient and (size := self._transient(func, args)):
            self.pulse(size, "kernels")
        out = func(*args, **(kwargs or {}))
        if self._flops_of:
            self.flops[self.at] += self._flops_of(func, args, out)
        for result in (out,) if isinstance(out, torch.Tensor) else tree_iter(out):
            if isinstance(result, torch.Tensor):
                self.add(result)
        if func.__name__.split(".")[0] in PRODUCTS:
            self._mark_workspace()
        return out

    def _mark_workspace(self) -> None:
        """With its first matrix product a thread takes a workspace; the backward pass runs in a thread of its own."""
        block = Block(Place("workspace"), int("backward" in self.at.phase))
        if block not in self._marked:
            self._marked.add(block)
            self.events.append(Event(self.at, block, 0, "workspace"))

    def _new_block(self) -> Block:
        block = Block(self.at, self._made[self.at])
        self._made[self.at] += 1
        return block

    def _free(self, key: int) -> None:
        held = self._live.pop(key, None)
        if held and held.block:
            self.events.append(Event(self.at, held.block, -held.size, held.kind))

    def _watch(self, storage: Any) -> Any:
        key = storage._cdata
        return weakref.ref(storage, lambda _: self._free(key))
