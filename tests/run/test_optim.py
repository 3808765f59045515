import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trimtab.run.optim import Flat, Optimizer, learning_rate
from trimtab.spec.recipe import Recipe
from trimtab.tasks.task import Group

BASE = Recipe(model="m", data="d", learning_rate=1e-2)


@given(st.integers(2, 500), st.floats(0, 0.5), st.sampled_from(["cosine", "linear", "constant"]))
def test_the_schedule(total, warmup, kind):
    recipe = BASE.but(warmup_steps=warmup, lr_scheduler_type=kind)
    rates = [learning_rate(recipe, k, total) for k in range(total)]
    top = rates.index(max(rates))
    assert 0 < max(rates) <= recipe.learning_rate * (1 + 1e-12)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert all(a >= b - 1e-15 for a, b in zip(rates[top:], rates[top + 1 :], strict=False))
    assert rates[0] > 0  # no step is wasted


def test_warmup_as_steps_or_as_a_share():
    assert learning_rate(BASE.but(warmup_steps=10), 4, 100) == pytest.approx(0.5e-2)
    assert learning_rate(BASE.but(warmup_steps=0.1), 4, 100) == pytest.approx(0.5e-2)


HOW = [
    ("adamw_torch", {}), ("adam", {}), ("sgd", {}), ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
]  # fmt: skip


@pytest.mark.parametrize(("optim", "how"), HOW)
def test_it_steps_like_torch_with_clipping_and_decay_on_matrices_only(optim, how):
    recipe = BASE.but(
        optim=optim, **how, weight_decay=0.1, max_grad_norm=0.5, lr_scheduler_type="constant", warmup_steps=0
    )
    torch.manual_seed(0)
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    optimizer = Optimizer(recipe, [Group(list(ours.parameters()))], 10)
    groups = [{"params": [theirs.weight], "weight_decay": 0.1}, {"params": [theirs.bias], "weight_decay": 0.0}]
    kind = {"adamw_torch": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optim]
    reference = kind(groups, lr=1e-2, **how)
    for step in range(5):
        x = torch.randn(6, 4)
        for layer in (ours, theirs):
            layer(x).pow(2).sum().backward()
        optimizer.step(step, optimizer.grad_norm())
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        reference.step()
        reference.zero_grad()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(ours.bias, theirs.bias, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("optim", "how"), HOW)
def test_what_is_saved_goes_on_to_the_same_bits(optim, how):
    recipe = BASE.but(optim=optim, **how)

    def made():
        torch.manual_seed(0)
        layer = nn.Linear(4, 3)
        optimizer = Optimizer(recipe, [Group(list(layer.parameters()))], 6)
        optimizer.prepare()
        return layer, optimizer

    def stepped(layer, optimizer, steps):
        for step in steps:
            layer(torch.full((2, 4), step + 1.0)).pow(2).sum().backward()
            optimizer.step(step, optimizer.grad_norm())

    whole, first, second = made(), made(), made()
    stepped(*whole, range(6))
    stepped(*first, range(3))
    second[1].load({k: v.clone() for k, v in first[1].tensors().items()})
    stepped(*second, range(3, 6))
    assert torch.equal(whole[0].weight, second[0].weight)


def test_flat_views_share_memory():
    a, b = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.zeros(3))
    flat = Flat([a, b])
    (a.sum() + 2 * b.sum()).backward()
    assert flat.grad.tolist() == [1, 1, 1, 1, 2, 2, 2]
    flat.vector.data.fill_(7)
    assert a.tolist() == [[7, 7], [7, 7]]
