"""Runs that differ only in length share their first steps: exactly as if each had been trained alone, with fewer
passes."""

import pytest

from tests.run.test_loop import Hooks, fresh
from tests.weights import same_weights
from trimtab.run.cohort import Cohort
from trimtab.run.loop import train
from trimtab.run.shared_start import shared_steps

SCHEDULES = {
    "constant": {"lr_scheduler_type": "constant", "warmup_steps": 3},
    "wsd": {"lr_scheduler_type": "warmup_stable_decay", "warmup_steps": 3},
}


def carried_out(tokenizer, data, recipes, folder, hooks=None, **how):
    """(hooks, passes of a member)"""
    hooks = hooks or Hooks()
    cohort = Cohort(fresh(tokenizer), recipes, data, "certify", **how)
    passes, step = [], cohort.forward_backward

    def counted(members):
        passes.extend(m.id for m in members)
        return step(members)

    cohort.forward_backward = counted
    train(cohort, folder, "c", hooks)
    return hooks, passes


def of(hooks, run):
    return [s[1:] for s in hooks.steps if s[0] == run], [nats[run] for _, nats in hooks.evaluations if run in nats]


def lengths(recipe, schedule, *epochs):
    return [recipe.but(num_train_epochs=e, lora_dropout=0.2, eval_steps=0.25, **SCHEDULES[schedule]) for e in epochs]


@pytest.mark.parametrize("schedule", [pytest.param(s, marks=pytest.mark.slow if s == "wsd" else ()) for s in SCHEDULES])
def test_a_shared_start_changes_nothing(schedule, tiny_tokenizer, small_data, recipe, tmp_path):
    recipes = lengths(recipe, schedule, 1, 1.7, 3)
    together, passes = carried_out(tiny_tokenizer, small_data, recipes, tmp_path / "together")
    _, all_passes = carried_out(tiny_tokenizer, small_data, recipes, tmp_path / "off", share_start=False)
    for r in recipes:
        alone, _ = carried_out(tiny_tokenizer, small_data, [r], tmp_path / r.run_id)
        assert of(together, r.run_id) == of(alone, r.run_id)
        for end in ("best", "last"):
            assert same_weights(
                tmp_path / "together" / "runs" / r.run_id / end, tmp_path / r.run_id / "runs" / r.run_id / end
            )
    saved = 1 - len(passes) / len(all_passes)
    assert saved > (0.45 if schedule == "constant" else 0.25)


def test_a_follower_goes_on_alone_where_its_leader_is_stopped(tiny_tokenizer, small_data, recipe, tmp_path):
    short, long = lengths(recipe, "constant", 1, 2)
    hooks = Hooks(stop={0.25: "clearly worse", "who": (long.run_id,)})
    together, _ = carried_out(tiny_tokenizer, small_data, [short, long], tmp_path / "together", hooks)
    alone, _ = carried_out(tiny_tokenizer, small_data, [short], tmp_path / "alone")
    assert of(together, short.run_id) == of(alone, short.run_id)


@pytest.mark.parametrize("die_at", [3, 11, 25])
def test_an_interrupted_trunk_goes_on_exactly(die_at, tiny_tokenizer, small_data, recipe, tmp_path):
    recipes = lengths(recipe, "wsd", 1, 2)
    whole, _ = carried_out(tiny_tokenizer, small_data, recipes, tmp_path / "whole")
    first = Hooks(die_at=die_at)
    with pytest.raises(KeyboardInterrupt):
        train(
            Cohort(fresh(tiny_tokenizer), recipes, small_data, "certify"), tmp_path / "cut", "c", first, save_every=0.0
        )
    rest, _ = carried_out(tiny_tokenizer, small_data, recipes, tmp_path / "cut")
    for r in recipes:
        steps = {s[0]: s for s in of(first, r.run_id)[0]} | {s[0]: s for s in of(rest, r.run_id)[0]}
        assert list(dict(sorted(steps.items())).values()) == of(whole, r.run_id)[0]
        assert same_weights(
            tmp_path / "whole" / "runs" / r.run_id / "last", tmp_path / "cut" / "runs" / r.run_id / "last"
        )


def test_what_is_shared(recipe):
    short, long = lengths(recipe, "constant", 1, 2)
    assert shared_steps(short, long, 40) == short.steps(40) == 10
    assert shared_steps(short.but(r=8), long, 40) == 0
    short, long = lengths(recipe, "wsd", 1, 2)
    assert (
        shared_steps(short, long, 40) == 9
    )  # the last fifth of ten steps falls: its first step still has the whole rate
    cosine = [r.but(lr_scheduler_type="cosine", warmup_steps=3) for r in (short, long)]
    assert shared_steps(*cosine, 40) == 4  # the warm-up and the first step after it
