"""Rates by layer: which layer a parameter is of, and that a factor is a rate of its own."""

import pytest
import torch
from torch import nn

from trimtab.errors import SpecError
from trimtab.run.layer_rates import by_layer, depths_of, factors, group_of
from trimtab.run.optim import Optimizer
from trimtab.spec.recipe import Recipe
from trimtab.spec.yaml_file import own_settings

RECIPE = Recipe(model="m", data="d", task="text-classification", learning_rate=1e-2, max_steps=10)
KINDS = ["bert", "roberta", "distilbert", "deberta-v2", "modernbert", "electra", "llama", "qwen2", "gpt2", "mixtral",
         "resnet", "vit", "convnext", "swin"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_of_one_layer_and_none_is_missing(kind):
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(kind)
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    named = dict(model.named_parameters())
    depths = depths_of(list(named))
    assert set(depths) == set(named)
    whole = {"resnet": sum(config.depths) if kind == "resnet" else 0, "swin": 12 + 3, "convnext": 18 + 3}
    top = whole.get(kind) or config.num_hidden_layers
    assert set(depths.values()) == set(range(top + 1))
    group = group_of(named.items(), (), RECIPE.but(layer_decay=0.9))
    assert len(group.parameters) == len({id(p) for p in named.values()}) == len(group.rates)
    assert {id(p) for p in group.parameters} == {id(p) for p in named.values()}
    assert max(group.rates) == 1
    assert min(group.rates) == pytest.approx(0.9**top)


def test_names_tell_the_layer():
    names = [
        "embed.weight",
        "layer.0.q.weight",
        "layer.10.q.weight",
        "layer.2.experts.7.w",
        "norm.weight",
        "head.weight",
    ]
    assert depths_of(names) == {
        "embed.weight": 0, "layer.0.q.weight": 1, "layer.2.experts.7.w": 2, "layer.10.q.weight": 3, "norm.weight": 3,
        "head.weight": 3,
    }  # fmt: skip


def test_a_head_has_a_rate_of_its_own():
    names = ["body.layer.0.w.A", "body.layer.1.w.A", "classifier.weight"]
    made = factors(names, {"classifier.weight"}, RECIPE.but(layer_decay=0.5, head_learning_rate=0.1))
    assert made == pytest.approx([0.5, 1, 10])
    assert factors(names, {"classifier.weight"}, RECIPE) == [1, 1, 1]


def test_weights_that_are_tied_are_stepped_once():
    tied = nn.Parameter(torch.ones(2, 2))
    group = group_of(
        [("embed.weight", tied), ("layer.0.w", nn.Parameter(torch.ones(1, 1))), ("head.w", tied)], (), RECIPE
    )
    assert len(group.parameters) == 2
    assert group.rates == ()


@pytest.mark.parametrize("optim", ["adamw_torch", "adam", "sgd"])
def test_a_factor_is_a_rate_as_torch_has_it(optim):
    """Against parameter groups of their own, decay and all."""
    torch.manual_seed(0)
    start = [torch.randn(3, 4), torch.randn(4), torch.randn(2, 3)]
    ours, theirs = ([nn.Parameter(t.clone()) for t in start] for _ in range(2))
    recipe = RECIPE.but(optim=optim, weight_decay=0.1, layer_decay=0.5, warmup_steps=0, lr_scheduler_type="constant",
                        max_grad_norm=0)  # fmt: skip
    group = group_of(zip(["layer.0.w", "layer.0.b", "layer.1.w"], ours, strict=True), (), recipe)
    optimizer = Optimizer(recipe, [group], 10)
    kind = {"adamw_torch": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optim]
    rows = [(0.5, 0.1), (0.5, 0.0), (1.0, 0.1)]  # factor, decay: none on a bias
    plain = kind([{"params": [p], "lr": 1e-2 * f, "weight_decay": d} for p, (f, d) in zip(theirs, rows, strict=True)])
    for step in range(5):
        for p, q in zip(ours, theirs, strict=True):
            gradient = torch.randn(p.shape)
            p.grad.copy_(gradient)
            q.grad = gradient.clone()
        optimizer.step(step, 1.0)
        plain.step()
        for p, q in zip(ours, theirs, strict=True):
            torch.testing.assert_close(p.data, q.data, rtol=1e-5, atol=1e-6)


def test_a_chat_model_has_no_head():
    with pytest.raises(SpecError, match="a chat model has no head of its own"):
        own_settings("m", "d", ["head_learning_rate=1e-3"])
    assert own_settings("m", "d", ["head_learning_rate=1e-3", "task=text-classification"])["head_learning_rate"] == 1e-3


@pytest.mark.parametrize("optim", ["adamw_torch", "sgd"])
def test_layers_begin_one_after_the_other_as_if_torch_were_given_them_then(optim):
    """Until then they do not move, count in no norm, and gather no moments."""
    torch.manual_seed(0)
    start = [torch.randn(3, 4) for _ in range(4)]
    ours, theirs = ([nn.Parameter(t.clone()) for t in start] for _ in range(2))
    recipe = RECIPE.but(optim=optim, weight_decay=0.1, gradual_unfreezing=0.2, warmup_steps=0, max_grad_norm=0.5,
                        lr_scheduler_type="constant")  # fmt: skip
    names = ["embed.w", "layer.0.w", "layer.1.w", "head.w"]
    group = group_of(zip(names, ours, strict=True), ["head.w"], recipe)
    assert group.starts == [0.4, 0.2, 0.0, 0.0]
    optimizer, begins = Optimizer(recipe, [group], 10), [4, 2, 0, 0]
    kind = {"adamw_torch": torch.optim.AdamW, "sgd": torch.optim.SGD}[optim]
    plain = kind([theirs[2], theirs[3]], lr=1e-2, weight_decay=0.1)
    for step in range(8):
        for i, at in enumerate(begins):
            if at == step > 0:
                plain.add_param_group({"params": [theirs[i]]})
            gradient = torch.randn(3, 4)
            ours[i].grad.copy_(gradient)
            theirs[i].grad = gradient.clone() if step >= at else None
        optimizer.rest(step)
        optimizer.step(step, optimizer.grad_norm())
        nn.utils.clip_grad_norm_([p for p in theirs if p.grad is not None], 0.5)
        plain.step()
        for p, q in zip(ours, theirs, strict=True):
            torch.testing.assert_close(p.data, q.data, rtol=1e-5, atol=1e-6)


def test_all_layers_begin_at_once_unless_asked():
    named = [("layer.0.w", nn.Parameter(torch.ones(1, 1))), ("layer.1.w", nn.Parameter(torch.ones(1, 1)))]
    assert group_of(named, (), RECIPE).starts == ()


def test_layers_are_told_from_the_head_down():
    sizes = {"embed.w": 2, "layer.0.w": 3, "layer.0.b": 1, "layer.1.w": 4, "head.w": 5}
    named = [(n, nn.Parameter(torch.ones(k, 1))) for n, k in sizes.items()]
    recipe = RECIPE.but(
        method="full", learning_rate=1e-3, head_learning_rate=1e-2, layer_decay=0.5, frozen_layers=0,
        task="text-classification", gradual_unfreezing=0.25,
    )  # fmt: skip
    rows = by_layer(named, ["head.w"], recipe)
    assert [(r["name"], r["start"], r["parameters"]) for r in rows] == [
        ("head", 0.0, 5), ("layer 2", 0.0, 4), ("layer 1", 0.25, 4), ("before the layers", 0.5, 2),
    ]  # fmt: skip
    assert [r["rate"] for r in rows] == pytest.approx([1e-2, 1e-3, 5e-4, 2.5e-4])
    frozen = by_layer(named, ["head.w"], recipe.but(frozen_layers=1, gradual_unfreezing=0))
    assert [r["rate"] for r in frozen] == pytest.approx([1e-2, 1e-3, 0, 0])
