"""The frozen lower layers kept: the same model, cut in two."""

import pytest
import torch

from trimtab.errors import ModelError
from trimtab.run.cohort import Cohort
from trimtab.run.frozen_prefix import FrozenPrefix
from trimtab.tuning.choice import worse_half
from trimtab.workers.proxy_screen import losses


def test_both_halves_compute_what_the_whole_does(tiny_base, small_data):
    rows = small_data.splits["validation"][:3]
    prefix = FrozenPrefix(tiny_base, 0.5)
    batch = tiny_base.pad(rows)
    whole = tiny_base.logits(batch, [])
    hidden = prefix.hidden(rows, batch.ids.shape[1])
    with prefix.upper():
        halves = tiny_base.logits(batch, [], inputs_embeds=hidden)
    torch.testing.assert_close(whole, halves, rtol=1e-4, atol=1e-4)
    prefix.check(rows)
    torch.testing.assert_close(tiny_base.logits(batch, []), whole)  # and the model is whole again


def test_training_above_a_prefix_is_training_the_upper_layers_alone(tiny_base, small_data, recipe):
    """The same adapters in the whole model, the lower ones left out, give the same gradients."""
    prefix = FrozenPrefix(tiny_base, 0.5)
    upper = [f"model.layers.{i}.mlp.down_proj" for i in range(prefix.first, len(prefix.layers))]
    r = recipe.but(target_modules=upper)
    with_prefix, plain = Cohort(tiny_base, [r], small_data, prefix=prefix), Cohort(tiny_base, [r], small_data)
    found = []
    for cohort in (with_prefix, plain):
        (member,) = cohort.members
        ((loss, _),) = cohort.forward_backward([member])
        found.append((loss, member.optimizer.grad_norm()))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_only_upper_layers_get_adapters(tiny_base, small_data, recipe):
    prefix = FrozenPrefix(tiny_base, 0.5)
    (member,) = Cohort(tiny_base, [recipe], small_data, prefix=prefix).members
    assert all(prefix.is_upper(n) for n in member.adapter.A)
    assert not prefix.is_upper("model.layers.0.mlp.down_proj")


def test_a_model_that_does_not_come_apart(tiny_base, small_data, monkeypatch):
    prefix = FrozenPrefix(tiny_base, 0.5)
    monkeypatch.setattr(
        prefix, "hidden", lambda rows, length: torch.zeros(len(rows), length, tiny_base.model.config.hidden_size)
    )
    with pytest.raises(ModelError, match="cannot be run from the middle"):
        prefix.check(small_data.splits["validation"][:3])


def test_a_screen_drops_the_worse_half_and_no_more(tiny_base, small_data, recipe):
    rates = [recipe.but(learning_rate=v) for v in (1e-6, 1e-2, 1e-7)]
    found = losses(tiny_base, rates, small_data, upper=0.5, share=0.5)
    assert min(found) == found[1]
    assert rates[1] not in worse_half(rates, found)
    assert len(worse_half(rates, found)) == 1
    assert worse_half(rates[:1], found[:1]) == []
