"""FLOPs against torch's own counter, and what flash attention's backward takes against its allocations."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from trimtab.forecasting import kernels
from trimtab.forecasting.meter import Meter


def both(run):
    """(ours, torch's) of the same calls."""
    with FlopCounterMode(display=False) as theirs:
        run()
    with Meter(flops=kernels.flops) as ours:
        run()
    return sum(ours.flops.values()), theirs.get_total_flops()


def leaf(*shape):
    return torch.ones(*shape, requires_grad=True)


CASES = {
    "mm": lambda: (leaf(3, 5) @ leaf(5, 7)).sum().backward(),
    "addmm": lambda: F.linear(leaf(4, 3, 5), leaf(7, 5), leaf(7)).sum().backward(),
    "bmm": lambda: torch.bmm(leaf(2, 3, 5), leaf(2, 5, 7)).sum().backward(),
    "baddbmm": lambda: torch.baddbmm(leaf(2, 3, 7), leaf(2, 3, 5), leaf(2, 5, 7)).sum().backward(),
    "convolution": lambda: F.conv2d(leaf(2, 4, 9, 8), leaf(6, 4, 3, 3), stride=2, padding=1).sum().backward(),
}


@pytest.mark.parametrize("name", CASES)
def test_flops_are_those_that_torch_counts(name):
    ours, theirs = both(CASES[name])
    assert ours == theirs > 0


def test_a_convolution_in_groups_costs_three_times_its_forward_pass():
    """The inputs' and the weights' gradient cost as much as the output each; torch counts the second without groups."""
    inputs, weight = leaf(2, 4, 9, 8), leaf(6, 2, 3, 3)
    forward, theirs = both(lambda: F.conv2d(inputs, weight, groups=2))
    assert forward == theirs
    assert both(lambda: F.conv2d(inputs, weight, groups=2).sum().backward())[0] == 3 * forward


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_four_products_of_the_square_or_half_of_it(causal):
    """2 for q·kᵀ and 2 for p·v; backward five products to two; a causal mask leaves half."""
    batch, heads, length, width = 2, 3, 16, 8
    q, k, v = (leaf(batch, heads, length, width) for _ in range(3))
    forward = 4 * batch * heads * length**2 * width // (2 if causal else 1)
    with Meter(flops=kernels.flops) as meter:
        out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    assert sum(meter.flops.values()) == forward
    with meter:
        out.sum().backward()
    assert sum(meter.flops.values()) == forward * 7 // 2


def test_flash_backward_is_padded_to_tiles_of_128_by_32():
    """A float32 accumulator of dq and softmax_d, both over whole tiles."""
    half = lambda *shape: torch.empty(*shape, dtype=torch.bfloat16)  # noqa: E731
    one = kernels.flash_backward(half(2, 4, 128, 64), half(2, 4, 128, 64))
    assert one == 2 * 4 * 128 * 64 * 4 + 2 * 4 * 128 * 4
    assert kernels.flash_backward(half(2, 4, 1, 33), half(2, 4, 1, 33)) == one
    assert kernels.flash_backward(half(2, 4, 129, 64), half(2, 4, 129, 64)) == 2 * one


def test_shared_keys_and_values_are_expanded_to_the_query_heads():
    q, k = torch.empty(2, 8, 128, 64, dtype=torch.bfloat16), torch.empty(2, 2, 256, 64, dtype=torch.bfloat16)
    more = kernels.flash_backward(q, k) - kernels.flash_backward(q, torch.empty(2, 8, 256, 64))
    assert more == 2 * (2 * 8 * 256 * 64) * 2  # dk and dv, two bytes each


def test_only_kernels_that_take_something_for_a_moment_do():
    with Meter(kernels.transient, round_to=1) as meter:
        F.embedding(torch.zeros(100, dtype=torch.long), leaf(50, 4)).sum().backward()
        torch.ones(3) + 1
    pulses = [e.size for e in meter.events if e.kind == "kernels"]
    assert pulses == [3584, -3584]  # four sorted index buffers of 100 int64, rounded up to 512
