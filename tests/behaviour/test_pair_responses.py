"""How far an answer's probabilities move when a question is asked in other words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from trimtab.behaviour.pair_responses import _js

four = st.lists(st.floats(0.001, 1.0), min_size=4, max_size=4).map(lambda v: [x / sum(v) for x in v])


@given(four, four)
def test_it_is_scipy_s_and_between_nothing_and_ln_2(p, q):
    assert 0 <= _js([p, q]) <= np.log(2) + 1e-12
    with np.errstate(invalid="ignore"):
        assert _js([p, q]) == pytest.approx(np.nan_to_num(jensenshannon(p, q)) ** 2, abs=1e-9)


def test_what_rounding_alone_tells_apart_is_no_distance_and_no_nan():
    """Of a fifth of such pairs scipy's distance is not a number."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        p = rng.dirichlet([1, 1, 1, 1])
        assert 0 <= _js([p, p.astype(np.float32).astype(float)]) < 1e-9
