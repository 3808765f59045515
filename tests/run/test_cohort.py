"""The contract: a member's losses and weights are those of the same recipe trained alone."""

import pytest
import torch
from accelerate import Accelerator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.datasets.tokens import Tokens
from trimtab.errors import ModelError, RunError
from trimtab.run.cohort import Cohort
from trimtab.tasks.language import LanguageBase
from trimtab.tasks.pretrained import load_model

recipes = st.fixed_dictionaries(
    {
        "learning_rate": st.sampled_from([1e-4, 1e-3, 5e-3]),
        "r": st.sampled_from([1, 3, 8]),
        "lora_alpha": st.sampled_from([4.0, 16.0]),
        "lora_dropout": st.sampled_from([0.0, 0.3]),
        "per_device_train_batch_size": st.sampled_from([1, 3, 4]),
        "gradient_accumulation_steps": st.sampled_from([1, 2, 3]),
        "weight_decay": st.sampled_from([0.0, 0.1]),
        "optim": st.sampled_from(["adamw_torch", "adam", "sgd"]),
        "lr_scheduler_type": st.sampled_from(["cosine", "linear", "constant"]),
        "seed": st.integers(1, 3),
        "max_grad_norm": st.sampled_from([0.0, 0.1, 1.0]),
        "layers_to_transform": st.sampled_from([None, [1], [0]]),
        "target_modules": st.sampled_from(["all-linear", ["q_proj", "v_proj"]]),
    }
)
SLOW = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8)


def steps(cohort, n):
    """n micro-batches of every member; their losses and final weights."""
    losses = {m.id: [] for m in cohort.members}
    for _ in range(n):
        for member, (loss, tokens) in zip(cohort.running, cohort.forward_backward(cohort.running), strict=True):
            if member.accumulate(loss, tokens):
                losses[member.id].append(member.update()["loss"])
    return losses, {m.id: m.optimizer.flats[0].vector.detach().clone() for m in cohort.members}


@pytest.mark.parametrize("mode", ["certify", "fast"])
@SLOW
@given(first=recipes, second=recipes)
def test_together_equals_alone(tiny_base, small_data, recipe, mode, first, second):
    pair = [recipe.but(**first), recipe.but(**{**second, "seed": second["seed"] + 3})]
    losses, weights = steps(Cohort(tiny_base, pair, small_data, mode), 6)
    for member in pair:
        alone_losses, alone_weights = steps(Cohort(tiny_base, [member], small_data, mode), 6)
        mine, alone = torch.tensor(losses[member.run_id]), torch.tensor(alone_losses[member.run_id])
        w, a = weights[member.run_id], alone_weights[member.run_id]
        if mode == "certify":
            assert torch.equal(mine, alone)
            assert torch.equal(w, a)
        else:
            assert float(((mine - alone).abs() / alone).max()) <= 1e-5 if len(alone) else True
            # Adam divides by √v: where a gradient is next to nothing, rounding alone turns its step.
            assert float((w - a).norm() / a.norm()) <= 1e-4


@SLOW
@given(first=recipes)
def test_equal_slices_go_through_the_batched_product(tiny_base, small_data, recipe, first):
    """Equal row counts take another path (bmm, padded ranks): it must agree with single runs as well."""
    pair = [recipe.but(**first), recipe.but(**{**first, "r": 5, "learning_rate": 2e-3, "seed": 7})]
    cohort = Cohort(tiny_base, pair, small_data, "fast")
    _, weights = steps(cohort, 4)
    for member in pair:
        _, alone = steps(Cohort(tiny_base, [member], small_data, "fast"), 4)
        assert float((weights[member.run_id] - alone[member.run_id]).norm() / alone[member.run_id].norm()) <= 1e-4


def test_a_place_that_one_member_leaves_out_is_the_base_s_for_it(tiny_base, small_data, recipe):
    """Also in a model that an earlier run had adapted everywhere."""
    everywhere, upper, attention = (
        recipe, recipe.but(layers_to_transform=[1], seed=2), recipe.but(target_modules=["q_proj"], seed=3)
    )  # fmt: skip
    _, together = steps(Cohort(tiny_base, [everywhere, upper, attention], small_data, "certify"), 4)
    for one in (upper, attention):
        _, alone = steps(Cohort(tiny_base, [one], small_data, "certify"), 4)
        assert torch.equal(together[one.run_id], alone[one.run_id])


def test_a_members_nan_does_not_spread(tiny_base, small_data, recipe):
    pair = [recipe, recipe.but(seed=2)]
    cohort = Cohort(tiny_base, pair, small_data, "fast")
    with torch.no_grad():
        next(iter(cohort.members[1].adapter.A.values())).fill_(float("nan"))
    _, weights = steps(cohort, 3)
    _, alone = steps(Cohort(tiny_base, [recipe], small_data, "fast"), 3)
    assert "nan" in cohort.members[1].state.reason
    mine, same = weights[recipe.run_id], alone[recipe.run_id]
    assert float((mine - same).norm() / same.norm()) <= 1e-5


@pytest.mark.parametrize("method", ["lora", "full"])
def test_accumulation_is_exactly_one_big_batch(tiny_tokenizer, small_data, recipe, method):
    """Loss is normalised by the tokens of the whole effective batch, so rows of any length may be split anyhow."""
    found = []
    for micro, accumulation in ((12, 1), (4, 3), (1, 12), (5, 3)):
        base = LanguageBase(load_model("bundled:tiny", torch.float32, "cpu"), tiny_tokenizer, Accelerator(cpu=True))
        # 5 x 3 = 15 examples would be another batch: keep 12 by asking for 12 and splitting by 5
        r = recipe.but(
            method=method, per_device_train_batch_size=micro, gradient_accumulation_steps=accumulation, max_grad_norm=0
        )
        cohort = Cohort(base, [r], small_data)
        member = cohort.members[0]
        if micro == 5:
            member.plan = type(member.plan)(member.plan.sizes, 12, 5, member.plan.seed)
        while not member.accumulate(*cohort.forward_backward([member])[0]):
            pass
        found.append((member.state.loss, torch.cat([f.grad.clone() for f in member.optimizer.flats])))
    for loss, gradient in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-5)
        assert float((gradient - found[0][1]).norm() / found[0][1].norm()) < 1e-5


def test_logits_only_where_there_are_labels_change_nothing(tiny_base, small_data, recipe):
    rows = small_data.splits["validation"][:3]
    cohort = Cohort(tiny_base, [recipe], small_data)
    (ours,) = [j.losses for j in cohort.evaluate(cohort.members, rows)]
    for row, value in zip(rows, ours, strict=True):
        ids = torch.tensor([row.ids])
        logits = tiny_base.model(input_ids=ids).logits[0, :-1]
        wanted = torch.tensor(row.labelled[1:])
        plain = torch.nn.functional.cross_entropy(logits[wanted], ids[0, 1:][wanted])
        assert value == pytest.approx(float(plain), rel=1e-5)


def test_bad_requests(tiny_base, small_data, recipe):
    with pytest.raises(RunError, match="cannot share one frozen base"):
        Cohort(tiny_base, [recipe, recipe.but(max_length=32)], small_data)
    with pytest.raises(ModelError, match=r"names no linear layer.*q_proj"):
        Cohort(tiny_base, [recipe.but(target_modules=["query"])], small_data)


def test_a_row_without_a_first_label_is_counted_right():
    assert Tokens([1, 2, 3], [True, True, False]).weight == 1


@pytest.mark.parametrize("mode", ["certify", "fast"])
def test_recomputing_layers_changes_no_number(tiny_base, small_data, recipe, mode):
    """Dropout included: the second pass of a layer must draw the mask of the first."""
    pair = [recipe.but(lora_dropout=0.3, seed=s, per_device_train_batch_size=3) for s in (1, 2)]
    losses, weights = steps(Cohort(tiny_base, pair, small_data, mode), 4)
    again = [r.but(gradient_checkpointing=True) for r in pair]
    losses2, weights2 = steps(Cohort(tiny_base, again, small_data, mode), 4)
    for kept, recomputed in zip(pair, again, strict=True):
        assert losses[kept.run_id] == losses2[recomputed.run_id]
        assert torch.equal(weights[kept.run_id], weights2[recomputed.run_id])
        assert not torch.equal(weights[kept.run_id], torch.zeros_like(weights[kept.run_id]))
