"""The frozen lower layers kept: the same model, cut in two."""

import pytest
import torch

from trimtab.errors import ModelError
from trimtab.run import frozen_prefix
from trimtab.run.cohort import Cohort
from trimtab.run.frozen_prefix import FrozenPrefix, prefix_of
from trimtab.tuning.choice import worse_half
from trimtab.workers.proxy_screen import losses


def test_both_halves_compute_what_the_whole_does(tiny_base, small_data):
    rows = small_data.splits["validation"][:3]
    prefix = FrozenPrefix(tiny_base, 1)
    batch = tiny_base.pad(rows)
    whole = tiny_base.logits(batch, [])
    with prefix.upper(rows, batch.ids.shape[1]):
        halves = tiny_base.logits(batch, [])
    torch.testing.assert_close(whole, halves, rtol=1e-4, atol=1e-4)
    prefix.check(rows)
    torch.testing.assert_close(tiny_base.logits(batch, []), whole)  # and the model is whole again


def test_training_above_a_prefix_is_training_the_upper_layers_alone(tiny_base, small_data, recipe):
    """The same adapters in the whole model, the lower ones left out, give the same gradients."""
    prefix = FrozenPrefix(tiny_base, 1)
    upper = [f"model.layers.{i}.mlp.down_proj" for i in range(prefix.first, len(prefix.layers))]
    r = recipe.but(target_modules=upper)
    with_prefix, plain = Cohort(tiny_base, [r], small_data, kept=prefix), Cohort(tiny_base, [r], small_data)
    found = []
    for cohort in (with_prefix, plain):
        (member,) = cohort.members
        ((loss, _),) = cohort.forward_backward([member])
        found.append((loss, member.optimizer.grad_norm()))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_only_upper_layers_get_adapters(tiny_base, small_data, recipe):
    prefix = FrozenPrefix(tiny_base, 1)
    (member,) = Cohort(tiny_base, [recipe], small_data, kept=prefix).members
    assert all(prefix.is_upper(n) for n in member.adapter.A)
    assert not prefix.is_upper("model.layers.0.mlp.down_proj")


def test_a_model_that_does_not_come_apart(tiny_base, small_data, monkeypatch):
    prefix = FrozenPrefix(tiny_base, 1)
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


def test_states_are_the_same_bits_whoever_comes_first(tiny_base, small_data):
    """A resumed run meets its examples in another order than the one that was not interrupted."""
    rows = small_data.splits["train"]
    one, other = (FrozenPrefix(tiny_base, 1, rows) for _ in range(2))
    forwards = [one.hidden([row], row.size) for row in rows]
    backwards = [other.hidden(rows[i : i + 3][::-1], 99) for i in reversed(range(0, len(rows), 3))]
    states = {r.key: s for r, s in zip(rows, forwards, strict=True)}
    for i, some in zip(reversed(range(0, len(rows), 3)), backwards, strict=True):
        for row, state in zip(rows[i : i + 3][::-1], some, strict=True):
            assert torch.equal(states[row.key][0], state[: row.size])


def test_a_whole_run_over_a_prefix_is_the_run_without(tiny_base, small_data, recipe):
    upper = recipe.but(layers_to_transform=[1])
    prefix = prefix_of(tiny_base, [upper], small_data.splits["train"], small_data.splits["validation"])
    losses = []
    for cut in (prefix, None):
        cohort = Cohort(tiny_base, [upper], small_data, kept=cut)
        (member,) = cohort.members
        for _ in range(4 * member.passes):
            ((loss, size),) = cohort.forward_backward([member])
            if member.accumulate(loss, size):
                member.update()
        (evaluation,) = cohort.evaluate(cohort.members, small_data.splits["validation"])
        losses.append(evaluation.losses)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_what_has_no_prefix(tiny_base, small_data, recipe, monkeypatch):
    upper, items = recipe.but(layers_to_transform=[1]), small_data.splits["train"]
    assert prefix_of(tiny_base, [upper, upper.but(seed=2)], items).first == 1
    assert prefix_of(tiny_base, [recipe], items) is None  # every layer is trained
    assert prefix_of(tiny_base, [upper, recipe.but(layers_to_transform=[0, 1])], items) is None
    assert prefix_of(tiny_base, [upper]) is None  # nothing to keep
    monkeypatch.setattr(frozen_prefix, "free_memory", lambda _base: 1000)
    assert prefix_of(tiny_base, [upper], items) is None  # no room for it
