"""Where time is short: as long as confirming seeds leave, seldom evaluations, small batches where they are cheap."""

import pytest

from tests.tuning.fake_trainer import BASE, FACTS, FakeTrainer, desk_of
from trimtab.spec.study import Timed
from trimtab.tuning.short_start import affordable
from trimtab.tuning.time_left import TimeLeft

PLAN = BASE.but(
    num_train_epochs=8,
    per_device_train_batch_size=8,
    gradient_accumulation_steps=2,
    learning_rate=2e-3,
    eval_steps=0.25,
)


class Timing(FakeTrainer):
    """`dear`: what a unit of size costs in half the micro-batch, times as much."""

    dear = 1.0

    def seconds_per_size(self, recipe):
        return 0.001 * self.dear ** {8: 0, 4: 1, 2: 2}[recipe.per_device_train_batch_size]


def start(folder, seconds, own=(), evaluated=0.0, dear=1.05):
    desk = desk_of(folder, "tune", type("Timed", (Timing,), {"dear": dear}))
    known = Timed(per_size=0.00115, size=FACTS.tokens, examples=FACTS.examples, micro=8, evaluated=evaluated)
    desk.keep(base=desk.local.measure_base(PLAN), timed=known.model_dump())
    return (*affordable(desk, TimeLeft(desk, seconds), PLAN, own), desk)


def test_the_plan_stands_where_there_is_time(tmp_path):
    sentence, recipe, _ = start(tmp_path, None)
    assert (sentence[:6], recipe) == ("Start:", PLAN)


def test_small_passes_are_taken_where_they_cost_little(tmp_path):
    sentence, recipe, desk = start(tmp_path, 45)
    assert recipe.num_train_epochs <= 0.5
    assert recipe.effective_batch == recipe.per_device_train_batch_size == 2
    assert recipe.learning_rate == pytest.approx(PLAN.learning_rate / 8**0.5, rel=0.02)
    assert f"falls from 16 to {recipe.effective_batch} for the sake of enough steps" in sentence
    assert f"starts from {recipe.num_train_epochs:g}." in sentence
    assert set(desk.tune_facts.timed.paces) == {8, 4, 2}
    assert TimeLeft(desk, 45).fits([recipe] * 3, 0)


def test_small_passes_that_are_dear_are_not(tmp_path):
    assert start(tmp_path, 60, dear=1.7)[1].effective_batch == 8


def test_an_own_rate_stays_and_nothing_else_is_said_of_it(tmp_path):
    sentence, recipe, _ = start(tmp_path, 45, own=("learning_rate",))
    assert (recipe.learning_rate, "square root" in sentence) == (PLAN.learning_rate, False)


def test_own_batches_stay(tmp_path):
    recipe = start(tmp_path, 60, own=("per_device_train_batch_size",))[1]
    assert (recipe.effective_batch, recipe.num_train_epochs < 1) == (16, True)
    assert start(tmp_path, 60, own=("num_train_epochs",))[1] == PLAN


def test_evaluations_that_would_take_much_of_the_time_are_fewer(tmp_path):
    sentence, recipe, desk = start(tmp_path / "a", 60, evaluated=3000)
    assert (recipe.eval_steps, "evaluated at half" in sentence) == (0.5, True)
    assert TimeLeft(desk, 60).fits([recipe] * 3, 0)
    sentence, recipe, desk = start(tmp_path / "d", 60, evaluated=9000)
    assert (recipe.eval_steps, "at their end only" in sentence, "at half" in sentence) == (1.0, True, False)
    assert TimeLeft(desk, 60).fits([recipe] * 3, 0)
    assert start(tmp_path / "b", 60, evaluated=100)[1].eval_steps == 0.25
    assert start(tmp_path / "c", 60, own=("eval_steps",), evaluated=3000)[1].eval_steps == 0.25
