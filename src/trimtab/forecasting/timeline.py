"""What was allocated and freed, in order, and where. Takes a short model's events, gives those of the deep one, and
the peaks.

A model is traced with five layers; its middle one stands for all between the second and the last but one. Its
neighbours are middle layers too, so whatever crosses a border (saved inputs, gradients) has a twin to be copied
from. No torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from trimtab.errors import ForecastRefused

SHORT = 5  # layers of the traced copy
MIDDLE = 2  # the one that is repeated
BEFORE = ("weights", "set up", "optimizer state")  # phases that are over when the step begins


class Place(NamedTuple):
    """A stretch of one training step: "weights", "optimizer state", "forward", "head", … and the layer, if it is in
    one."""

    phase: str
    layer: int | None = None


class Block(NamedTuple):
    """The n-th allocation made at a place."""

    place: Place
    n: int


class Event(NamedTuple):
    """`size` bytes taken (> 0) or given back (< 0) while the step was `at` a place. Size 0 is a mark: here a thread
    takes the workspace of its matrix products."""

    at: Place
    block: Block
    size: int
    kind: str


@dataclass(frozen=True)
class Peak:
    """Bytes at the highest moment: all, and by kind."""

    total: int
    by_kind: dict[str, int]


def deepen(events: Sequence[Event], layers: int) -> list[Event]:
    """The events of the same model with `layers` layers. Raises ForecastRefused where the middle layers are not
    alike."""
    if layers == SHORT:
        return list(events)
    _check_alike(events)
    deep: list[Event] = []
    for place, run in groupby(events, key=lambda e: e.at):
        stretch = list(run)
        for layer in _instances(place.layer, layers, backwards="backward" in place.phase):
            deep += [moved for e in stretch for moved in _moved(e, layer, layers)]
    return deep


def _instances(layer: int | None, layers: int, backwards: bool) -> Iterable[int | None]:
    if layer != MIDDLE:
        return [_far(layer, layers)]
    copies = range(MIDDLE, layers - SHORT + MIDDLE + 1)
    return reversed(copies) if backwards else copies


def _far(layer: int | None, layers: int) -> int | None:
    """First and second stay; the last two move to the end."""
    return layer if layer is None or layer <= MIDDLE else layer + layers - SHORT


def _moved(e: Event, at: int | None, layers: int) -> Iterator[Event]:
    """The event at its copy `at`; a block of a neighbour becomes one of the copy's neighbour."""
    place, (home, n) = Place(e.at.phase, at), e.block
    if home.layer is None:
        yield Event(place, e.block, e.size, e.kind)
    elif e.at.layer is not None and at is not None and abs(home.layer - e.at.layer) <= 1:
        yield Event(place, Block(Place(home.phase, at + home.layer - e.at.layer), n), e.size, e.kind)
    else:  # from outside the layers: the middle block stands for all its copies
        for layer in _instances(home.layer, layers, backwards=False):
            yield Event(place, Block(Place(home.phase, layer), n), e.size, e.kind)


def _check_alike(events: Sequence[Event]) -> None:
    """The three middle layers must take and give back the same sizes in the same order."""
    shapes: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for e in events:
        if e.at.layer in (1, 2, 3):
            distance = 0 if e.block.place.layer is None else e.block.place.layer - e.at.layer
            shapes.setdefault((e.at.phase, e.at.layer), []).append((e.size, distance))
            if abs(distance) > 1:
                raise ForecastRefused("a layer frees what a distant layer made")
    for phase in {phase for phase, _ in shapes}:
        sizes = [shapes.get((phase, layer)) for layer in (1, 2, 3)]
        if sizes[0] != sizes[1] or sizes[1] != sizes[2]:
            raise ForecastRefused(f"the middle layers differ in {phase}")


def two_steps(events: Sequence[Event]) -> list[Event]:
    """Of a training step with what was there before it: the step twice, in new blocks the second time. What the first
    leaves is given back between them; marks stand in the first alone."""
    begin = next((i for i, e in enumerate(events) if e.at.phase not in BEFORE), len(events))
    step = events[begin:]
    freed = {e.block for e in step if e.size < 0}
    left = [e._replace(size=-e.size) for e in step if e.size > 0 and e.block not in freed]
    taken = {e.block for e in step if e.size > 0}
    new = {b: Block(Place(f"{b.place.phase}, again", b.place.layer), b.n) for b in taken}
    again = [e._replace(block=new.get(e.block, e.block)) for e in step if e.size]
    return [*events, *left, *again]


def peaks(events: Iterable[Event], layers: int) -> dict[str, Peak]:
    """The highest moment of each phase of the step: forward first/middle/last, head, backward …, update, evaluation."""
    now, kinds = 0, Counter[str]()
    highest: dict[str, Peak] = {}
    for e in events:
        now += e.size
        kinds[e.kind] += e.size
        name = phase_name(e.at, layers)
        if name not in highest or now > highest[name].total:
            highest[name] = Peak(now, {k: v for k, v in kinds.items() if v})
    return highest


def phase_name(place: Place, layers: int) -> str:
    if place.layer is None:
        return place.phase
    return f"{place.phase} {'first' if place.layer == 0 else 'last' if place.layer == layers - 1 else 'middle'}"
