import math
import random

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from trimtab.planning import rate_sweep


def test_the_cubic_is_scipys():
    rng = random.Random(1)
    for _ in range(200):
        x = sorted(rng.sample(range(100), rng.randint(3, 7)))
        y = [rng.random() for _ in x]
        at = rng.uniform(x[0], x[-1])
        wanted = PchipInterpolator(x, y)
        inner = x[1] <= at <= x[-2]  # at the very ends ours keeps the first slope
        if inner and len(x) > 3:
            assert rate_sweep._cubic(x, y, at) == pytest.approx(float(wanted(at)), abs=0.06)
        assert min(y) - 0.3 <= rate_sweep._cubic(x, y, at) <= max(y) + 0.3


def test_a_measured_rate_has_its_measured_regret():
    for c in rate_sweep.sweep():
        for rate, loss in zip(c.rates, c.losses, strict=True):
            assert c.regret(rate) == pytest.approx(loss - min(c.losses), abs=1e-12)
        assert min(c.regret(r) for r in np.geomspace(c.rates[0], c.rates[-1], 50)) > -1e-3


def test_sizes_and_families_are_known_for_every_model():
    curves = rate_sweep.sweep()
    assert len(curves) == 35
    assert all(math.isfinite(c.billions) and c.family for c in curves)
    assert next(c for c in curves if "gpt-oss-20b" in c.model).billions == 20


def test_small_models_start_higher_than_large_ones():
    curves = rate_sweep.sweep()
    assert rate_sweep.best_rate(1, curves) > rate_sweep.best_rate(70, curves) > 1e-4


def test_the_second_rate_is_a_step_of_three_towards_where_models_of_like_size_gain():
    curves = rate_sweep.sweep()
    assert rate_sweep.second_rate(1e-4, 8, curves) == pytest.approx(3e-4)
    assert rate_sweep.second_rate(2e-3, 70, curves) == pytest.approx(2e-3 / 3)


def test_the_goals_hold_without_the_family():
    """As bench/plan.py measures it: start at most 0.002 nats on average, after the second run at most 0.0005."""
    starts, after = [], []
    for c in rate_sweep.sweep():
        others = rate_sweep.sweep(lambda o, name=c.family: o.family == name)
        start = rate_sweep.best_rate(c.billions, others)
        second = rate_sweep.second_rate(start, c.billions, others)
        starts.append(c.regret(start))
        after.append(min(c.regret(start), c.regret(second)))
    assert sum(starts) / len(starts) < 0.002
    assert sum(after) / len(after) < 0.0005
