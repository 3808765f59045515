import math

import numpy as np
import pytest

from trimtab.analysis import stats


def test_a_paired_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = one_sided = 0
    for _ in range(400):
        i = stats.mean(list(rng.normal(0.3, 1.0, 30)), resamples=400)
        hits += i.low <= 0.3 <= i.high
        one_sided += i.above >= 0.3
    assert 0.92 <= hits / 400 <= 0.99
    assert one_sided / 400 >= 0.92


def test_exact_shares():
    zero = stats.share(0, 300)
    assert (zero.value, zero.low) == (0.0, 0.0)
    assert zero.above == pytest.approx(1 - 0.05 ** (1 / 300))  # the rule of three
    assert stats.share(5, 5).high == 1.0
    assert stats.share(0, 0) is None


def test_missing_and_single_values():
    assert stats.mean([]) is None
    assert stats.mean([1.0, math.nan]) is None
    assert stats.mean([2.0]).high == math.inf
    assert stats.seeds([0.5]).low == -math.inf
    assert stats.paired([2, 3], [1, 1]).value == 1.5


def test_a_recipes_gain_knows_both_kinds_of_noise():
    same_seeds = [[0.0, 1.0] * 20] * 3
    spread_seeds = [[0.0] * 40, [0.5] * 40, [1.0] * 40]
    items_only, seeds_only = stats.recipe_gain(same_seeds), stats.recipe_gain(spread_seeds)
    assert items_only.value == seeds_only.value == 0.5
    assert seeds_only.high - seeds_only.low > items_only.high - items_only.low > 0
    assert stats.recipe_gain([[1.0, 0.0]]).low == -math.inf  # one seed says nothing about the recipe
