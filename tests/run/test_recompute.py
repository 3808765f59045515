"""Layers that forget and compute again: the same gradients with dropout, less kept, and nothing left changed behind."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from trimtab.errors import ModelError
from trimtab.run.adapters import Adapter, Router, Slice, attach, find_targets
from trimtab.run.recompute import recomputing


class Layer(GradientCheckpointingLayer):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(6, 24), nn.Linear(24, 6)

    def forward(self, x):
        return x + self.down(torch.tanh(self.up(x)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    model = nn.Sequential(Layer(), Layer()).requires_grad_(False).eval()
    router = Router()
    targets = find_targets(model, "all-linear")
    attach(model, targets, router)
    adapters = [Adapter(targets, 2, 4, dropout, seed, "cpu") for seed, dropout in ((1, 0.5), (2, 0.0))]
    for adapter in adapters:
        for b in adapter.B.values():
            b.data.normal_()
    return model, router, adapters


def gradients(net, recompute):
    """Of two steps, and how many numbers autograd kept for them."""
    model, router, adapters = net
    for seed, adapter in enumerate(adapters):
        adapter.generator.manual_seed(seed)
    x, kept, found = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(3)), [], []
    slices = [Slice(a, 2, 5) for a in adapters]
    opened = (lambda: recomputing(model, router, nullcontext)) if recompute else nullcontext
    save = torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t)
    for _ in range(2):  # the second sees whether the first left the generators where they belong
        with opened():
            with save, router.route(slices):
                loss = model(x).pow(2).sum()
            loss.backward()
        found += [p.grad.clone() for a in adapters for p in a.parameters()]
        for a in adapters:
            for p in a.parameters():
                p.grad = None
    return found, sum(kept)


def test_the_second_pass_draws_the_masks_of_the_first(net):
    (plain, kept), (again, fewer) = gradients(net, False), gradients(net, True)
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    assert fewer < kept / 2


def test_layers_are_left_as_they_were_also_after_an_error(net):
    model, router, _ = net
    with pytest.raises(RuntimeError), recomputing(model, router, nullcontext):
        assert all(layer.training and layer.gradient_checkpointing for layer in model)
        assert not model[0].up.base.training  # dropout inside a frozen base stays off
        raise RuntimeError
    assert not any(layer.training or layer.gradient_checkpointing for layer in model)


def test_a_model_whose_layers_cannot_is_said():
    with (
        pytest.raises(ModelError, match="Linear has no layers that can recompute; set gradient_checkpointing: false"),
        recomputing(nn.Linear(2, 2), Router(), nullcontext),
    ):
        pass
