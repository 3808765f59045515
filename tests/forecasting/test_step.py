"""A step as Trainer takes it: every byte told once and to its layer, moments by the optimizer's own arithmetic."""

import pytest
import torch
from torch import nn

from tests.forecasting.test_trace import work
from trimtab.forecasting import step
from trimtab.forecasting.meter import Meter


class Net(nn.Module):
    """Two layers between an embedding and a head that share their weight."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(2)])
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def by_place(meter, phase):
    found = {}
    for e in meter.events:
        if e.at.phase == phase:
            found[e.at.layer] = found.get(e.at.layer, 0) + e.size
    return found


def test_a_layer_is_found_by_a_name():
    layer_in = step.layer_finder(Net())
    assert [layer_in(n) for n in ("layers.0.weight", "layers.1", "embed.weight", "layersx.1")] == [0, 1, None, None]
    assert step.layer_finder(nn.Linear(2, 2))("weight") is None


def test_weights_that_are_shared_are_told_once():
    model, meter = Net(), Meter(round_to=1)
    step.weights(model, meter)
    assert by_place(meter, "weights") == {None: 20 * 8 * 4, 0: (64 + 8) * 4, 1: (64 + 8) * 4}


@pytest.mark.parametrize(
    ("optim", "bytes_a_weight"), [("adamw_torch", 8), ("adamw_torch_fused", 8), ("sgd", 0), ("paged_adamw_32bit", 0)]
)
def test_moments_as_the_optimizer_has_them(optim, bytes_a_weight):
    """Adam: two float32 a weight; paged ones lie outside the card, plain SGD has none."""
    model, meter = Net(), Meter(round_to=1)
    kept = step.warm_up(work(method="full", optim=optim, device="cpu"), model, meter)
    weights = {None: 160, 0: 72, 1: 72} if bytes_a_weight else {}
    assert by_place(meter, "optimizer state") == {layer: n * bytes_a_weight for layer, n in weights.items()}
    assert kept.param_groups
    assert all(p.grad is None for p in model.parameters())


def test_a_pass_is_told_layer_by_layer_and_backwards_again():
    model, meter = Net(), Meter()
    step.follow(model, meter, lambda: "forward")
    places = []
    meter.go = lambda phase, layer=None, kind=None: places.append((phase, layer))  # noqa: ARG005
    model(torch.ones(1, 8, requires_grad=True)).sum().backward()
    assert places == [("forward", 0), ("forward", 1), ("head", None), ("backward", 1), ("backward", 0)]


@pytest.mark.parametrize(
    ("task", "shapes"),
    [
        ("sft", {"input_ids": (3, 16), "labels": (3, 16)}),
        ("text-classification", {"input_ids": (3, 16), "labels": (3,)}),
        ("image-classification", {"pixel_values": (3, 3, 16, 16), "labels": (3,)}),
    ],
)
def test_a_batch_has_the_shapes_of_its_task(task, shapes):
    assert {k: tuple(v.shape) for k, v in step.batch(work(max_length=16), task, 3).items()} == shapes
    if task == "sft":
        assert "attention_mask" in step.batch(work(max_length=16, padded=True), task, 3)


def test_an_update_leaves_nothing_behind():
    meter = Meter(round_to=1)
    step.update(
        work(method="full", optim="adamw_torch", device="cpu"), [(torch.Size([64, 8]), torch.float32)] * 3, meter
    )
    assert {e.at.phase for e in meter.events} == {"update"}
    assert sum(e.size for e in meter.events) == 0
    highest = max(sum(e.size for e in meter.events[:i]) for i in range(len(meter.events) + 1))
    assert highest < 3 * 64 * 8 * 4 * 2  # parameters, gradients and moments are counted elsewhere
