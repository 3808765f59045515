"""Signs of learning by heart: the EZ score by hand, and gains that are differences of losses."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trimtab.behaviour.answering import nll
from trimtab.behaviour.memorisation import FLOOR, _ez, trace

changes = st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=1, max_size=20)


def test_the_score_by_hand_is_of_tokens_that_are_still_wrong():
    """Σ positive d / Σ |negative d|: the right ones (here by 9 nats) do not count."""
    d, wrong = torch.tensor([2.0, 1.0, -1.5, 9.0]), torch.tensor([True, True, True, False])
    assert _ez(d, wrong) == pytest.approx((3 + FLOOR) / (1.5 + FLOOR))
    assert _ez(d, torch.zeros(4, dtype=torch.bool)) == pytest.approx(
        (12 + FLOOR) / (1.5 + FLOOR)
    )  # all known: all count


@given(changes)
def test_to_go_the_other_way_is_the_inverse(pairs):
    d, wrong = torch.tensor([v for v, _ in pairs]), torch.tensor([w for _, w in pairs])
    assert _ez(d, wrong) * _ez(-d, wrong) == pytest.approx(1, rel=1e-4)
    assert math.isfinite(_ez(d, wrong))


def test_what_is_gained_is_the_difference_of_the_losses(evaluated_models, small_data):
    base, still, moved = evaluated_models
    rows = small_data.splits["validation"][:5]
    signs = trace(base, moved, rows)
    assert signs.gain == pytest.approx(
        [a - b for a, b in zip(nll(base, rows), nll(moved, rows), strict=True)], abs=1e-4
    )
    assert min(signs.kl) > 0
    null = trace(base, still, rows)
    assert (null.ez, null.gain, null.kl) == ([1.0] * 5, [0.0] * 5, [0.0] * 5)
