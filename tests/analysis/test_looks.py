"""Looking several times spends no more than looking once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from trimtab.analysis.looks import pieces, sets_of, tails_of
from trimtab.analysis.stats import FIXED


def boundary(shares, side="one"):
    return norm.isf(getattr(tails_of("x", {"x": {"asked": list(shares), "of": 100}}), side))


@given(st.integers(1, 2000))
def test_pieces_end_at_the_end(count):
    ends = pieces(count)
    assert ends[-1] == count
    assert all(0 < b - a <= 64 for a, b in zip((0, *ends), ends, strict=False))
    assert len(ends) >= 2 or count == 1


def test_nothing_to_ask_has_no_pieces():
    assert pieces(0) == ()


def test_one_look_is_the_plain_bound():
    assert tails_of("x", {}) == FIXED
    assert boundary([100]) == pytest.approx(norm.isf(0.05))
    assert boundary([100], "two") == pytest.approx(norm.isf(0.025))


def test_two_halves_by_hand():
    """The first spends half of it to the power 1.5; the second what is left, by the bivariate normal distribution."""
    from scipy.stats import multivariate_normal

    first, second = boundary([50]), boundary([50, 100])
    assert first == pytest.approx(norm.isf(0.05 * 0.5**1.5))
    both = multivariate_normal([0, 0], [[1, 0.5**0.5], [0.5**0.5, 1]]).cdf([first, second])
    assert both == pytest.approx(0.95, abs=1e-4)


@pytest.mark.parametrize("asked", [(50, 100), (64, 128, 150), (64, 128, 192, 256, 300), (1, 99, 100), (30, 31, 100)])
def test_all_looks_together_are_wrong_as_seldom_as_one(asked):
    rng, of = np.random.default_rng(0), asked[-1]
    seen = np.cumsum(rng.normal(size=(200_000, len(asked))) * np.sqrt(np.diff((0, *asked))), 1) / np.sqrt(asked)
    for side, alpha in (("one", 0.05), ("two", 0.025)):
        looks = [{"x": {"asked": list(asked[: i + 1]), "of": of}} for i in range(len(asked))]
        edges = np.array([norm.isf(getattr(tails_of("x", seen), side)) for seen in looks])
        assert (seen > edges).any(1).mean() == pytest.approx(alpha, rel=0.04)


def test_an_early_look_has_to_be_surer():
    edges = [boundary([25, 50, 75, 100][: i + 1]) for i in range(4)]
    assert edges == sorted(edges, reverse=True)
    assert edges[-1] > norm.isf(0.05)


def test_broken_answers_are_looked_for_in_all_harmless_questions():
    assert sets_of("answers") == ("generic", "alarming", "open")
    assert sets_of("facts") == ("facts",)
    assert sets_of("") == ()
