"""The temperature that held-out items ask for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.analysis import temperature


def drawn(items, labels, too_sure, seed):
    """Labels that come as often as logits say, and the logits times `too_sure`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (items, labels))
    p = np.exp(temperature.at(logits, 1.0))
    truth = [int(rng.choice(labels, p=row)) for row in p]
    return temperature.at(logits * too_sure, 1.0), truth


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 2.5])
def test_how_much_too_sure_is_found_again(too_sure):
    found = [temperature.fitted(*drawn(1000, 4, too_sure, seed)) for seed in range(5)]
    assert np.mean(found) == pytest.approx(too_sure, rel=0.1)


def test_items_that_are_all_right_are_no_proof_of_certainty():
    meek = temperature.at(np.array([[1.0, 0.0]] * 20), 1.0)
    made = temperature.at(meek, temperature.fitted(meek, [0] * 20))
    assert np.exp(made[0, 0]) == pytest.approx(21 / 22, abs=0.01)
    sure = temperature.at(np.array([[9.0, 0.0]] * 20), 1.0)
    assert temperature.fitted(sure, [0] * 20) == 1.0  # nothing says that it is too sure


@given(st.integers(0, 1000), st.integers(2, 6), st.floats(0.3, 5))
def test_a_temperature_changes_no_choice_and_never_hurts_what_it_was_fitted_to(seed, labels, too_sure):
    logs, truth = drawn(60, labels, too_sure, seed)
    scaled = temperature.at(logs, temperature.fitted(logs, truth))
    assert (scaled.argmax(-1) == logs.argmax(-1)).all()
    rows = np.arange(60)
    assert scaled[rows, truth].sum() >= logs[rows, truth].sum() - 1e-3


def test_nothing_to_fit_is_left_as_it_is():
    assert temperature.fitted(np.zeros((0, 3)), []) == 1.0
