"""A small model of PyTorch's caching allocator. Takes a timeline's events, gives what it would hold from the card.

Follows c10/cuda/CUDACachingAllocator: 512-byte blocks, a pool for up to 1 MiB (2 MiB segments) and one above (20 MiB
segments up to 10 MiB, else rounded up to 2 MiB), best fit, split, merge. With expandable segments one growing
segment for each pool is mapped in 2 MiB (small) or 20 MiB pages. No torch.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from trimtab.forecasting.timeline import Block, Event, two_steps

MIB = 2**20
WORKSPACES = (8 * MIB + 2**17, 32 * MIB)  # of a thread's matrix products, cuBLAS: up to Ada, from Hopper on
SMALL, LARGE, MIN_LARGE, ROUND_LARGE = 1 * MIB, 20 * MIB, 10 * MIB, 2 * MIB


@dataclass
class Chunk:
    """A stretch of one segment, used or free, with its neighbours there."""

    start: int
    size: int
    large: bool
    used: bool = True
    before: Chunk | None = None
    after: Chunk | None = None


@dataclass
class Pools:
    """The allocator's state; `peak_reserved` is what nvidia-smi would show beyond context and workspaces."""

    expandable: bool = False
    capacity: int | None = None
    reserved: int = 0
    peak_reserved: int = 0
    retries: int = 0  # times that cached segments had to be given back
    out_of_memory: bool = False
    _free: dict[bool, list[tuple[int, int, Chunk]]] = field(default_factory=lambda: {False: [], True: []})
    _used: dict[Block, Chunk] = field(default_factory=dict)
    _end: int = 0
    _tail: dict[bool, Chunk] = field(default_factory=dict)

    def take(self, block: Block, size: int) -> None:
        # The two pools never lend to each other: a small tensor cannot live in a large hole, which is why what is
        # reserved can exceed what is allocated by far more than rounding.
        large = size > SMALL
        chunk = self._best_fit(large, size) or self._grow(large, size)
        self._split(chunk, size)
        chunk.used = True
        self._used[block] = chunk

    def give(self, block: Block) -> None:
        chunk = self._used.pop(block, None)
        if chunk is None:
            return
        chunk.used = False
        # Neighbours melt together at once, as on the card: otherwise a step of falling sizes would fragment here and
        # not there.
        for other in (chunk.before, chunk.after):
            if other is not None and not other.used:
                self._unlist(other)
                chunk = _merge(chunk, other)
        self._list(chunk)

    def _best_fit(self, large: bool, size: int) -> Chunk | None:
        # Sorted by size, then address: of equally good holes the card takes the lowest, and so must we, or the holes
        # of the next step would lie elsewhere.
        free = self._free[large]
        i = bisect.bisect_left(free, (size, -1), key=lambda t: t[:2])
        return free.pop(i)[2] if i < len(free) else None

    def _grow(self, large: bool, size: int) -> Chunk:
        if self.expandable:
            return self._extend(large, size)
        wanted = 2 * MIB if not large else LARGE if size < MIN_LARGE else -(-size // ROUND_LARGE) * ROUND_LARGE
        self._reserve(wanted)
        chunk = Chunk(self._end, wanted, large)
        self._end += wanted + 2**40  # segments never touch
        return chunk

    def _extend(self, large: bool, size: int) -> Chunk:
        """Map pages behind the last free chunk of the one big segment."""
        page = LARGE if large else 2 * MIB
        # Only the end of the segment can grow. If it is free it counts towards what is asked for, so just the missing
        # pages are mapped: this is what makes expandable segments hold less.
        tail = self._tail.get(large)
        if tail is not None and not tail.used:
            self._unlist(tail)
            grown = -(-(size - tail.size) // page) * page
            self._reserve(grown)
            tail.size += grown
            return tail
        grown = -(-size // page) * page
        self._reserve(grown)
        chunk = Chunk((tail.start + tail.size) if tail else (2**60 if large else 0), grown, large, before=tail)
        if tail:
            tail.after = chunk
        self._tail[large] = chunk
        return chunk

    def _reserve(self, size: int) -> None:
        # The card first gives its cache back and tries again; only then is it out of memory. A retry costs a
        # synchronisation, so many of them mean "fits, but slowly".
        if self.capacity is not None and self.reserved + size > self.capacity:
            self.retries += 1
            self._release()
            self.out_of_memory |= self.reserved + size > self.capacity
        self.reserved += size
        self.peak_reserved = max(self.peak_reserved, self.reserved)

    def _release(self) -> None:
        """Give back whole segments that nobody uses."""
        for large, free in self._free.items():
            whole = [t for t in free if t[2].before is None and t[2].after is None and not self.expandable]
            self.reserved -= sum(t[0] for t in whole)
            self._free[large] = [t for t in free if t not in whole]

    def _split(self, chunk: Chunk, size: int) -> None:
        # A large chunk is not split for a rest below 1 MiB: such a rest could serve nobody, since small tensors have a
        # pool of their own. The tensor keeps it; that is the allocator's waste.
        rest = chunk.size - size
        if rest < (512 if not chunk.large or self.expandable else SMALL + 1):
            return
        other = Chunk(chunk.start + size, rest, chunk.large, False, chunk, chunk.after)
        if chunk.after:
            chunk.after.before = other
        if self._tail.get(chunk.large) is chunk:
            self._tail[chunk.large] = other
        chunk.after, chunk.size = other, size
        self._list(other)

    def _list(self, chunk: Chunk) -> None:
        chunk.used = False
        bisect.insort(self._free[chunk.large], (chunk.size, chunk.start, chunk), key=lambda t: t[:2])
        if chunk.after is None and self.expandable:
            self._tail[chunk.large] = chunk

    def _unlist(self, chunk: Chunk) -> None:
        free = self._free[chunk.large]
        del free[bisect.bisect_left(free, (chunk.size, chunk.start), key=lambda t: t[:2])]


def _merge(a: Chunk, b: Chunk) -> Chunk:
    first, second = (a, b) if a.start < b.start else (b, a)
    first.size += second.size
    first.after = second.after
    if second.after:
        second.after.before = first
    return first


def held(training: Sequence[Event], workspace: int, expandable: bool = False) -> int:
    """Bytes that two training steps hold of the card beyond the workspaces of matrix products, `workspace` bytes a
    thread. The backward pass has its own thread, which takes its workspace in the middle of the first step, out of
    what is free just then, and keeps it. A large block that was split for it serves the second step no longer: on a
    card that was one segment of the logits' size more in 14 of 58 measured configurations."""
    marks = sum(e.size == 0 for e in training)
    return replay(two_steps(training), expandable, workspace=workspace).peak_reserved - marks * workspace


def replay(events: Iterable[Event], expandable: bool = False, capacity: int | None = None, workspace: int = 0) -> Pools:
    """Run a timeline through the allocator; `capacity` in bytes adds what happens when the card is full, `workspace`
    is taken at every mark."""
    pools = Pools(expandable, capacity)
    for e in events:
        if size := e.size or workspace:
            pools.take(e.block, size) if size > 0 else pools.give(e.block)
    return pools
