"""How sure an answer must be: thresholds that hold what they promise, by simulation."""

import numpy as np
import pytest

from trimtab.analysis.abstain import fewest, threshold


def drawn(rng, n, slope=1.0):
    """Sureness, and answers that are right as often as they are sure (`slope` below 1: less often)."""
    sure = rng.uniform(0.3, 1.0, n)
    return (rng.random(n) < sure * slope).astype(float).tolist(), sure.tolist()


def test_the_surest_answers_are_given():
    right, sure = drawn(np.random.default_rng(0), 3000)
    found = threshold(right, sure, 0.9)
    assert found
    assert 0.75 < found.sure < 0.95
    assert found.right.below >= 0.9
    kept = [r for r, s in zip(right, sure, strict=True) if s >= found.sure]
    assert found.covered == pytest.approx(len(kept) / len(right))


def test_nothing_is_promised_that_was_not_shown():
    right, sure = drawn(np.random.default_rng(0), 3000, slope=0.5)
    assert threshold(right, sure, 0.9) is None
    assert threshold([1.0] * 10, [0.99] * 10, 0.5) is None  # too few to show anything


def test_a_promise_is_broken_in_at_most_one_of_twenty():
    """Calibrated answers: above sureness t, (1 + t) / 2 of them are right."""
    rng, broken, made = np.random.default_rng(1), 0, 0
    for _ in range(400):
        found = threshold(*drawn(rng, 300), 0.85)
        if found:
            made += 1
            broken += (1 + found.sure) / 2 < 0.85
    assert made > 200
    assert broken / 400 <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5


@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.95, 0.99])
def test_so_many_right_answers_are_enough_and_one_less_is_not(wanted):
    n = fewest(wanted)
    assert threshold([1.0] * n, [1.0] * n, wanted) is not None
    assert threshold([1.0] * (n - 1), [1.0] * (n - 1), wanted) is None
