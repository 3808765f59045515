"""Bytes as CUDA's allocator counts them: storages once, views free, everything given back that was taken."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trimtab.forecasting.meter import Meter, rounded
from trimtab.forecasting.timeline import Place


def live(meter):
    return sum(e.size for e in meter.events)


@given(st.integers(0, 10**12))
def test_sizes_are_rounded_up_to_512(size):
    assert rounded(size) % 512 == 0
    assert 0 <= rounded(size) - size < 512


def test_each_thread_s_first_product_is_marked():
    x = torch.ones(4, 4)
    with Meter(flops=lambda *_: 0) as meter:
        for phase in ("forward", "head backward", "forward 2", "backward 2"):
            meter.go(phase)
            x + x
            x @ x
    assert [(e.at.phase, e.kind) for e in meter.events if not e.size] == [
        ("forward", "workspace"),
        ("head backward", "workspace"),
    ]


def test_a_storage_is_counted_once_and_views_are_free():
    x = torch.ones(300)
    with Meter() as meter:
        y = x * 2
        z = y.view(3, 100)[1:].t()
        y.mul_(2)
        w = y.contiguous()
    assert live(meter) == rounded(1200)
    assert z.sum() + w.sum() > 0


@given(st.lists(st.tuples(st.integers(1, 3000), st.booleans()), max_size=12), st.sampled_from([1, 512]))
def test_what_is_left_is_what_was_not_given_back(sizes, to):
    kept = []
    with Meter(round_to=to) as meter:
        for n, keep in sizes:
            made = torch.empty(n, dtype=torch.uint8)
            kept += [made] if keep else []
            del made
    assert live(meter) == sum(rounded(t.numel(), to) for t in kept)
    kept.clear()
    assert live(meter) == 0
    assert all(any(e.block == f.block and e.size == -f.size for f in meter.events) for e in meter.events)


def test_what_was_there_before_counts_when_it_is_told_and_never_when_it_is_overlooked():
    a, b = torch.ones(128), torch.ones(128)
    with Meter() as meter:
        meter.add(a)
        meter.overlook([b])
        a.add_(1)
        b.add_(1)
    assert live(meter) == 512
    del a, b
    assert live(meter) == 0


def test_places_and_kinds_are_those_of_the_moment_names_may_come_later():
    with Meter() as meter:
        meter.go("forward", 3, "activations")
        x = torch.ones(1)
        meter.go("backward", 3)
        y = torch.ones(1)
        meter.name([y, torch.empty(0)], "gradients")
    named = [(e.at, e.kind) for e in meter.named_events()]
    assert named == [(Place("forward", 3), "activations"), (Place("backward", 3), "gradients")]
    assert [e.kind for e in meter.events] == ["activations", "activations"]
    assert x.numel() + y.numel() == 2


def test_what_a_kernel_takes_for_a_moment_is_given_back_at_once():
    with Meter(transient=lambda func, _args: 1000 if "mm" in func.__name__ else 0) as meter:
        out = torch.ones(2, 2) @ torch.ones(2, 2)
    at = [e.size for e in meter.events if e.kind == "kernels"]
    assert at == [1024, -1024]
    assert out.sum() == 8


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_deaths_at_one_moment_have_one_order(order):
    """Sets of tensors die in any order; two traces of one step must be equal."""
    with Meter() as meter:
        made = [torch.ones(128 * (i + 1)) for i in range(3)]
        meter.go("clear")
        for i in order:
            made[i] = None
    assert [e.size for e in meter.named_events()[3:]] == [-1536, -1024, -512]
