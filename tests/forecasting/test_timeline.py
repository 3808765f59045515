"""Five layers stand for many: the deepened events must be those of the deep model."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.errors import ForecastRefused
from trimtab.forecasting.allocator import held, replay
from trimtab.forecasting.timeline import SHORT, Block, Event, Place, deepen, peaks, two_steps


def step(layers: int, sizes: list[int], head: int, odd: int | None = None) -> list[Event]:
    """A step as models take it: what a layer saves is freed in the next layer's backward."""
    events, block = [], lambda phase, layer, n: Block(Place(phase, layer), n)
    for i in range(layers):
        events.append(Event(Place("weights", i), block("weights", i, 0), sizes[0], "weights"))
    for i in range(layers):
        for n, size in enumerate(sizes):
            taken = size * (2 if i == odd else 1)
            events.append(Event(Place("forward", i), block("forward", i, n), taken, "activations"))
    events.append(Event(Place("head"), block("head", None, 0), head, "logits"))
    events.append(Event(Place("head backward"), block("head", None, 0), -head, "logits"))
    for i in reversed(range(layers)):
        events.append(Event(Place("backward", i), block("backward", i, 0), sizes[0], "gradients"))
        for n, size in enumerate(sizes):
            taken = size * (2 if i == odd else 1)
            events.append(Event(Place("backward", i), block("forward", i, n), -taken, "activations"))
        if i + 1 < layers:  # the gradient that came from the layer above
            events.append(Event(Place("backward", i), block("backward", i + 1, 0), -sizes[0], "gradients"))
    events.append(Event(Place("clear"), block("backward", 0, 0), -sizes[0], "gradients"))
    return events


@given(st.integers(SHORT, 40), st.lists(st.integers(1, 10**7), min_size=1, max_size=6), st.integers(1, 10**8))
def test_the_deepened_step_is_the_deep_step(layers, sizes, head):
    short, deep = step(SHORT, sizes, head), step(layers, sizes, head)
    assert deepen(short, layers) == deep
    assert peaks(deepen(short, layers), layers) == peaks(deep, layers)


def test_layers_that_differ_are_refused():
    with pytest.raises(ForecastRefused, match="layers differ"):
        deepen(step(SHORT, [512, 1024], 512, odd=2), 12)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 60 * 2**20)), max_size=120), st.booleans())
def test_the_allocator_never_holds_less_than_is_used(moves, expandable):
    """Random takes and gives: reserved covers what is live, blocks never overlap, a freed card is used again."""
    live, events = {}, []
    for key, size in moves:
        if key in live:
            events.append(Event(Place("x"), Block(Place("x"), key), -live.pop(key), ""))
        else:
            live[key] = -(-size // 512) * 512
            events.append(Event(Place("x"), Block(Place("x"), key), live[key], ""))
    pools = replay(events, expandable)
    assert pools.reserved >= sum(live.values())
    assert pools.peak_reserved >= pools.reserved
    spans = sorted((c.start, c.start + c.size) for c in pools._used.values())
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    again = replay(
        [*events, *(Event(Place("x"), Block(Place("x"), k), -v, "") for k, v in live.items()), *events], expandable
    )
    assert again.peak_reserved <= 2 * pools.peak_reserved + 40 * 2**20


def test_a_workspace_that_splits_a_block_costs_the_next_step_a_segment():
    """Logits are made and freed twice in a step; the backward pass takes its workspace where they were."""
    mib = 2**20
    at = [Place("weights"), Place("forward"), Place("head backward")]
    take = lambda place, n, size: Event(place, Block(place, n), size, "")  # noqa: E731
    events = [
        take(at[0], 0, 100 * mib),
        take(at[1], 0, 768 * mib),
        take(at[1], 0, -768 * mib),
        take(at[2], 0, 0),
        take(at[2], 1, 512),
    ]
    assert held(events, 0) == (100 + 768 + 2) * mib
    assert held(events, 32 * mib) == (100 + 2 * 768 + 2 - 32) * mib
    again = two_steps(events)
    assert sum(e.size for e in again) == (100 * mib + 512)
    assert [e.size for e in again if e.block.place == Place("head backward, again")] == [512]


def test_a_full_card_gives_cached_segments_back():
    mib = 2**20
    take = lambda n, size: Event(Place("x"), Block(Place("x"), n), size, "")  # noqa: E731
    events = [take(0, 600 * mib), take(0, -600 * mib), take(1, 700 * mib)]
    assert replay(events).peak_reserved == 1300 * mib
    pools = replay(events, capacity=1000 * mib)
    assert (pools.peak_reserved, pools.retries, pools.out_of_memory) == (700 * mib, 1, False)
    assert replay([take(0, 1200 * mib)], capacity=1000 * mib).out_of_memory
