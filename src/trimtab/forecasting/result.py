"""A forecast as plain data: named terms, allocated and reserved, verdict on a card, time. Takes numbers, gives a
page's worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

GIB = 2**30
# CUDA context and libraries outside PyTorch's allocator: assumed until `--calibrate` has measured this machine's.
CONTEXT = GIB // 2
# Replay and context against what the driver showed, 69 readings: median 4 % off, plain transformers at most 12 % low,
# but one in twenty more than 20 % (Triton kernels, bench/results/forecast.md). Until this machine's own runs say
# better:
MARGIN = 0.12


KEPT_STATES = "kept states"
ALL_THE_TIME = ("allocated", "reserved", "reserved_expandable", "evaluation", "generation")


class Fit(StrEnum):
    FITS = "fits"
    TIGHT = "tight"
    DOES_NOT = "does not fit"


@dataclass(frozen=True)
class Memory:
    """Bytes on one device."""

    terms: dict[str, int]  # what is there at the highest moment; sums to `allocated`
    allocated: int  # as torch.cuda.max_memory_allocated counts, workspaces included
    reserved: int  # what the caching allocator takes from the card
    reserved_expandable: int  # the same with expandable_segments:True
    context: int
    at: str = ""  # when in the step
    evaluation: int | None = None  # allocated while evaluating
    generation: int | None = None

    def plus(self, term: str, size: int) -> Memory:
        """With `size` bytes more that are there all the time."""
        more = {f.name: getattr(self, f.name) for f in fields(self)}
        more |= {k: v + size for k, v in more.items() if k in ALL_THE_TIME and v is not None}
        return Memory(**{**more, "terms": {**self.terms, **({term: size} if size else {})}})

    @property
    def used(self) -> int:
        """What the driver shows: reserved and context."""
        return self.reserved + self.context


@dataclass(frozen=True)
class Duration:
    """Seconds of one optimizer step, with a range; None where the card's speed is not known."""

    step: float
    low: float
    high: float
    steps: int | None
    basis: str


@dataclass(frozen=True)
class Forecast:
    """Memory in bytes by term, verdict and time, with what they rest on."""

    workload: dict[str, Any]
    model: dict[str, Any]  # name, parameters, trainable, family
    memory: Memory
    how: str  # "traced" or "closed form"
    sure: str  # in words: what stands behind the numbers
    device: dict[str, Any] | None
    fit: Fit | None
    margin: float
    duration: Duration | None
    flops: int | None
    versions: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """With the margin."""
        return self.fit == Fit.FITS

    @property
    def used(self) -> int:
        """Bytes as the driver would show them."""
        return self.memory.used

    @property
    def seconds(self) -> tuple[float, float, float] | None:
        """Of one optimizer step: middle, low, high."""
        return (self.duration.step, self.duration.low, self.duration.high) if self.duration else None

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        plain = asdict(self)
        return {**plain, "memory": {**plain["memory"], "used": self.memory.used}}


def judge(memory: Memory, capacity: int, margin: float = MARGIN) -> Fit:
    """On reserved memory: fits with the margin; tight where only the allocator's cache or the margin is in the way."""
    if memory.used * (1 + margin) <= capacity:
        return Fit.FITS
    return Fit.TIGHT if memory.allocated + memory.context <= capacity else Fit.DOES_NOT


def shown_parts(m: Mapping[str, Any]) -> dict[str, int]:
    """Of a memory as plain data: its terms, what the allocator holds beyond them, and the context; what the driver
    shows."""
    reserved, context = m.get("reserved") or m["allocated"], m.get("context") or 0
    parts = {k: v for k, v in m["terms"].items() if v >= (reserved + context) / 2000}
    parts["cached, unused"] = reserved - m["allocated"]
    return {k: v for k, v in {**parts, "context": context}.items() if v > 0}
