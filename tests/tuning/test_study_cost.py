"""What a study costs: what a recipe does besides its own examples is in it."""

import pytest

from tests.tuning.fake_trainer import BASE
from trimtab.tuning.study_cost import Pace, affordable_epochs

PACE = Pace({8: 0.01}, epoch_size=1000, examples=80)


def test_a_pull_costs_its_rows_every_step():
    steps = BASE.steps(80)
    assert PACE.seconds([BASE.but(kl_weight=1.0)]) == pytest.approx(PACE.seconds([BASE]) + 0.01 * 340 * steps)


def test_replayed_rows_are_trained_on_like_any_other():
    more = PACE.seconds([BASE.but(replay_share=0.2)]) / PACE.seconds([BASE])
    assert more == pytest.approx(1 / 0.8, rel=0.05)


def test_an_earlier_checkpoint_costs_its_steps():
    half = BASE.steps(80) // 2
    assert PACE.seconds([BASE.but(stop_at_step=half)]) == pytest.approx(PACE.seconds([BASE]) / 2)


def test_time_sets_the_starting_length():
    pace = Pace({8: 0.01}, epoch_size=1000, examples=80)  # 10 s an epoch
    long = BASE.but(num_train_epochs=5)
    assert affordable_epochs(long, 1e9, pace, 3) == 5
    assert affordable_epochs(long, 80, pace, 3) == 1.0
    assert affordable_epochs(long, 70, pace, 3) == 1.5  # no study of settings fits, three seeds do
    assert affordable_epochs(long, 39, pace, 3) == 1.25
    assert affordable_epochs(long, 15, pace, 3) == 0.5
    assert affordable_epochs(long, 10, pace, 3) == 0.3
    assert affordable_epochs(long, 1, pace, 3) == 0.2
    assert affordable_epochs(BASE.but(num_train_epochs=0.1), 1, pace, 3) == 0.1
    assert pace.seconds([BASE.but(num_train_epochs=2), BASE]) == 30
    assert pace.seconds([BASE.but(per_device_train_batch_size=4)]) == pytest.approx(10 * 2**0.8)
    assert Pace({8: 0.01, 4: 0.012}, 1000, 80).seconds([BASE.but(per_device_train_batch_size=4)]) == pytest.approx(12)
    assert pace.seconds([BASE.but(per_device_train_batch_size=16)]) == 10  # never promised to be quicker
    four = Pace({8: 0.01}, 1000, 80, evaluated=300).seconds([BASE.but(eval_steps=0.25)])
    assert four == pytest.approx(10 + 4 * 1.0)  # a token passed forward alone is a third
    assert Pace({8: 0.01}, 1000, 80, evaluated=300).evaluating(BASE.but(eval_steps=0.25)) == pytest.approx(4 / 14)
