"""Stand-ins for kernels: the bits that the papers count, and the right shapes for whoever uses the results."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trimtab.forecasting import stubs


def held(module):
    return sum(t.numel() * t.element_size() for t in [*module.parameters(), *module.buffers()])


@pytest.mark.parametrize(("double", "bits"), [(False, 4.5), (True, 4.127)])
def test_four_bit_weights_take_the_bits_that_qlora_says(double, bits):
    """Dettmers et al. 2023: 0.5 bits a weight for the constants, 0.127 after quantising them as well."""
    found = stubs.Linear4Bit(nn.Linear(1024, 512, bias=False, device="meta"), double)
    assert held(found) * 8 / (1024 * 512) == pytest.approx(bits, abs=0.001)


def test_a_four_bit_linear_gives_back_what_came_in_and_trains_what_is_before_it():
    linear = stubs.Linear4Bit(nn.Linear(6, 4, dtype=torch.bfloat16), True)
    x = torch.ones(2, 3, 6, requires_grad=True)
    y = linear(x)
    assert (y.shape, y.dtype) == ((2, 3, 4), torch.float32)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert linear.weight.grad is None


def test_every_linear_but_the_head_is_quantised():
    model = nn.ModuleDict({"q": nn.Linear(4, 4), "deep": nn.Sequential(nn.Linear(4, 4)), "lm_head": nn.Linear(4, 9)})
    stubs.quantise(model, True)
    assert [n for n, m in model.named_modules() if type(m) is nn.Linear] == ["lm_head"]
    assert isinstance(model["deep"][0], stubs.Linear4Bit)


@given(st.integers(1, 40_000))
def test_eight_bit_adam_takes_two_bytes_a_weight_and_small_ones_stay_float32(n):
    """bitsandbytes: blocks of 256 with a float32 each for both moments; under 4,096 weights 32 bits."""
    p = nn.Parameter(torch.empty(n))
    p.grad = torch.empty(n)
    optimizer = stubs.Adam8Bit([p])
    optimizer.step()
    taken = sum(t.numel() * t.element_size() for t in optimizer.state[p].values())
    assert taken == (8 * n if n < 4096 else 2 * n + 8 * -(-n // 256))


class Shapes(torch.utils._python_dispatch.TorchDispatchMode):
    """Of every matrix that was made meanwhile."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.seen += [tuple(out.shape)] if out.dim() == 2 else []
        return out


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("tokens", [48, 64])
def test_ligers_head_never_makes_all_logits_and_trains_a_head_that_is_trained(tokens, trained):
    """Chunks whose logits weigh what all hidden states do: 48 / (32 words / 4 wide) = 6 tokens, up to a power of 2."""
    x, weight = torch.ones(tokens, 4, requires_grad=True), torch.ones(32, 4, requires_grad=trained)
    with Shapes() as made:
        loss = stubs.FusedHead.apply(x, weight)
    logits = [rows for rows, width in made.seen if width == 32 and rows != 4]  # the head's own matrix has 4 rows
    assert logits == [8] * (tokens // 8)
    assert ((32, 4) in made.seen) == trained  # a frozen head has no gradient that takes memory
    loss.backward()
    assert x.grad.shape == x.shape
    assert (weight.grad is not None) == trained


def test_flash_attention_keeps_the_shape_that_transformers_expects():
    from transformers import AttentionInterface

    stubs.use_flash(nn.Linear(1, 1))
    attend = AttentionInterface()["trimtab_flash"]
    q, kv = torch.ones(2, 4, 5, 8), torch.ones(2, 2, 5, 8)  # float32 queries over shared keys
    out, weights = attend(nn.Linear(1, 1), q, kv, kv, None, scaling=1.0)
    assert (out.shape, out.dtype, weights) == ((2, 5, 4, 8), torch.bfloat16, None)
