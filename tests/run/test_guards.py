import math

import pytest

from trimtab.run.guards import Guard, Limits


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (1.0, math.inf), (math.inf, 1.0)])
def test_numbers_that_are_none(loss, norm):
    assert "at step 3" in Guard(100).before_update(3, loss, norm, 0).reason


def test_a_dead_run():
    assert "exactly zero" in Guard(100).before_update(1, 2.0, 0.0, 0).reason


def test_explosion_needs_more_than_four_high_steps_in_a_row():
    guard = Guard(100)
    for step in range(20):
        assert guard.before_update(step, 1.0, 1.0, 0) is None
    for step in range(20, 24):
        assert guard.before_update(step, 5.0, 1.0, 0) is None
    assert "exploded" in guard.before_update(24, 5.0, 1.0, 0).reason


def test_a_single_spike_is_no_explosion():
    guard = Guard(100)
    losses = ([1.0] * 10 + [9.0]) * 5
    assert not any(guard.before_update(i, loss, 1.0, 0) for i, loss in enumerate(losses))


def test_limits():
    clock = Clock()
    guard = Guard(100, Limits(max_size=50, max_seconds=9), clock, size_word="tokens")
    assert guard.before_update(1, 1.0, 1.0, 49) is None
    assert "limit of 50 tokens" in guard.before_update(2, 1.0, 1.0, 50).reason
    clock.now = 9.0
    assert "time limit" in guard.before_update(3, 1.0, 1.0, 0).reason


def test_a_loss_that_had_fallen_and_stays_above_five_has_exploded():
    guard = Guard(100, diverged_above=5.0)
    stops = [guard.before_update(i, loss, 1.0, 0) for i, loss in enumerate([2.0, 2.0, 6.0, 6.0, 6.0])]
    assert stops[:4] == [None] * 4
    assert "above 5 for 3 steps at step 4, after 2.00" in stops[4].reason
    guard = Guard(100, diverged_above=5.0)
    assert not any(guard.before_update(i, 10.8, 1.0, 0) for i in range(50))  # a random model begins there
