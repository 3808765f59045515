"""Which examples an update came from: formulas against known truths, and the loop's own records."""

import json

import pytest
import torch

from trimtab.run.cohort import Cohort
from trimtab.run.gradient_shares import agreement


def gradients(signal, sd, examples, batch, seed):
    """Micro-batch mean gradients around a true one, as contributions to the update."""
    draw = torch.Generator().manual_seed(seed)
    each = signal + sd * torch.randn(examples // batch, batch, len(signal), generator=draw, dtype=torch.float64)
    return each.mean(1) / (examples // batch)


def test_the_noise_scale_is_recovered():
    """True scale: tr Σ / |G|² = 200 · sd² / |G|²."""
    signal = torch.ones(200, dtype=torch.float64) * 0.2
    found = [agreement(gradients(signal, 0.8, 64, 4, seed), [4] * 16, [4] * 16) for seed in range(60)]
    scale = sum(f["noise"] for f in found) / sum(f["signal"] for f in found)
    assert scale == pytest.approx(200 * 0.64 / 8.0, rel=0.1)


def test_consensus_is_one_for_equal_and_nothing_for_unrelated_gradients():
    same = torch.ones(8, 50, dtype=torch.float64) / 8
    assert agreement(same, [1] * 8, [3] * 8)["consensus"] == pytest.approx(1.0)
    apart = torch.eye(8, dtype=torch.float64)
    assert agreement(apart, [1] * 8, [3] * 8)["consensus"] == pytest.approx(0.0)


def test_shares_sum_to_one_and_a_large_one_is_seen():
    steps = torch.randn(16, 4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    even = agreement(steps, [1] * 16, [5] * 16)["shares"]
    assert sum(even) == pytest.approx(1.0)
    assert 14 < effective(even) <= 16
    steps[3] *= 8
    large = agreement(steps, [1] * 16, [5] * 16)["shares"]
    assert max(large) == large[3] > 0.5
    assert effective(large) < 3


def effective(shares):
    return 1 / sum((s / sum(shares)) ** 2 for s in shares)


class Recorder:
    def __init__(self):
        self.shares = []

    def restored(self, cohort):
        pass

    def stepped(self, _member, numbers):
        self.shares.append(json.loads(json.dumps(numbers["gradient_shares"])))  # as the store keeps it

    def evaluated(self, _share, _found):
        return {}

    def stopped(self, member):
        pass


@pytest.mark.parametrize("optim", ["adamw_torch", "sgd"])
def test_a_run_records_whose_gradients_they_were(tiny_base, small_data, recipe, tmp_path, optim):
    from trimtab.run.loop import train

    spec = recipe.but(
        per_device_train_batch_size=1, gradient_accumulation_steps=4, max_steps=3, optim=optim, learning_rate=0.01
    )
    hooks = Recorder()
    train(Cohort(tiny_base, [spec], small_data), tmp_path, "c", hooks)
    assert len(hooks.shares) == 3
    for found in hooks.shares:
        assert len(found["examples"]) == len(found["shares"]) == 4
        assert sum(found["shares"]) == pytest.approx(1.0)
        assert all(e["loss"] > 0 and e["weight"] > 0 for e in found["examples"])
    assert "shares_adam" not in hooks.shares[0]  # nothing is known of the moments yet
    assert ("shares_adam" in hooks.shares[2]) == (optim != "sgd")
    assert len(hooks.shares[0]["moved"]) == 3
    assert hooks.shares[1]["moved"] is None


def test_one_micro_batch_cannot_be_told_apart(tiny_base, small_data, recipe, tmp_path):
    from trimtab.run.loop import train

    hooks = Recorder()
    train(
        Cohort(
            tiny_base,
            [recipe.but(per_device_train_batch_size=4, gradient_accumulation_steps=1, max_steps=2)],
            small_data,
        ),
        tmp_path,
        "c",
        hooks,
    )
    assert "shares" not in hooks.shares[0]
    assert len(hooks.shares[0]["examples"]) == 4


def test_telling_each_example_apart_changes_nothing_that_is_learned(tiny_base, small_data, recipe, tmp_path):
    """With dropout, so that a draw too many would show."""
    from trimtab.run.loop import train

    spec = recipe.but(per_device_train_batch_size=4, gradient_accumulation_steps=1, max_steps=4, lora_dropout=0.1)
    runs = {}
    for every in (0, 2):
        hooks = Recorder()
        cohort = Cohort(tiny_base, [spec], small_data, shares_every=every)
        train(cohort, tmp_path / str(every), "c", hooks)
        runs[every] = cohort.members[0].adapter, hooks.shares
    quiet, told = runs[0][0], runs[2][0]
    assert all(torch.equal(quiet.B[n], told.B[n]) for n in quiet.B)
    assert ["shares" in h for h in runs[2][1]] == [True, False, True, False]
    assert len(runs[2][1][0]["shares"]) == len(runs[2][1][0]["examples"]) == 4
    assert runs[2][1][0]["sizes"] == [1, 1, 1, 1]
