"""Who an update listened to: formulas against known truths, and the loop's own records."""

import json

import pytest
import torch

from trimtab.run.cohort import Cohort
from trimtab.run.voices import agreement, effective


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


def test_consensus_is_one_for_equal_and_nothing_for_unrelated_voices():
    same = torch.ones(8, 50, dtype=torch.float64) / 8
    assert agreement(same, [1] * 8, [3] * 8)["consensus"] == pytest.approx(1.0)
    apart = torch.eye(8, dtype=torch.float64)
    assert agreement(apart, [1] * 8, [3] * 8)["consensus"] == pytest.approx(0.0)


def test_voices_sum_to_one_and_a_loud_one_is_heard():
    steps = torch.randn(16, 4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    even = agreement(steps, [1] * 16, [5] * 16)["voices"]
    assert sum(even) == pytest.approx(1.0)
    assert 14 < effective(even) <= 16
    steps[3] *= 8
    loud = agreement(steps, [1] * 16, [5] * 16)["voices"]
    assert max(loud) == loud[3] > 0.5
    assert effective(loud) < 3


class Recorder:
    def __init__(self):
        self.heard = []

    def restored(self, cohort):
        pass

    def stepped(self, _member, numbers):
        self.heard.append(json.loads(json.dumps(numbers["heard"])))  # as the store keeps it

    def evaluated(self, _share, _found):
        return {}

    def stopped(self, member):
        pass


@pytest.mark.parametrize("optim", ["adamw_torch", "sgd"])
def test_a_run_records_who_was_heard(tiny_base, small_data, recipe, tmp_path, optim):
    from trimtab.run.loop import train

    spec = recipe.but(
        per_device_train_batch_size=1, gradient_accumulation_steps=4, max_steps=3, optim=optim, learning_rate=0.01
    )
    hooks = Recorder()
    train(Cohort(tiny_base, [spec], small_data), tmp_path, "c", hooks)
    assert len(hooks.heard) == 3
    for heard in hooks.heard:
        assert len(heard["examples"]) == len(heard["voices"]) == 4
        assert sum(heard["voices"]) == pytest.approx(1.0)
        assert all(e["loss"] > 0 and e["tokens"] > 0 for e in heard["examples"])
    assert "voices_adam" not in hooks.heard[0]  # nothing is known of the moments yet
    assert ("voices_adam" in hooks.heard[2]) == (optim != "sgd")
    assert len(hooks.heard[0]["moved"]) == 3
    assert hooks.heard[1]["moved"] is None


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
    assert "voices" not in hooks.heard[0]
    assert len(hooks.heard[0]["examples"]) == 4


def test_listening_to_each_example_changes_nothing_that_is_learned(tiny_base, small_data, recipe, tmp_path):
    """With dropout, so that a draw too many would show."""
    from trimtab.run.loop import train

    spec = recipe.but(per_device_train_batch_size=4, gradient_accumulation_steps=1, max_steps=4, lora_dropout=0.1)
    runs = {}
    for every in (0, 2):
        hooks = Recorder()
        cohort = Cohort(tiny_base, [spec], small_data, listen_every=every)
        train(cohort, tmp_path / str(every), "c", hooks)
        runs[every] = cohort.members[0].adapter, hooks.heard
    quiet, listened = runs[0][0], runs[2][0]
    assert all(torch.equal(quiet.B[n], listened.B[n]) for n in quiet.B)
    assert ["voices" in h for h in runs[2][1]] == [True, False, True, False]
    assert len(runs[2][1][0]["voices"]) == len(runs[2][1][0]["examples"]) == 4
    assert runs[2][1][0]["sizes"] == [1, 1, 1, 1]
