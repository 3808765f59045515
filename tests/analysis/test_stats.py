import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, bootstrap
from scipy.stats import t as scipy_t
from sklearn import metrics

from trimtab.analysis import stats
from trimtab.analysis.label_scores import auroc, macro_f1, mcc


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


def test_items_that_all_agree_are_no_certainty():
    """Sixty right answers out of sixty leave the rule of three; nothing gained anywhere touches 0 on both sides."""
    all_gained = stats.recipe_gain([[1.0] * 60] * 3)
    assert 0.9 < all_gained.low < 0.96
    assert all_gained.high == 1.0
    none = stats.recipe_gain([[0.0] * 60] * 3)
    assert none.low < 0 < none.high
    assert none.above == pytest.approx(0.05, abs=0.02)
    assert stats.paired_shares([1.0] * 8, [0.0] * 8).low < 1.0
    assert stats.paired_shares([1.0], [0.0]).low == -math.inf


def test_the_interval_of_a_gain_covers_it_for_rare_and_common_gains():
    rng = np.random.default_rng(2)
    for p in (0.03, 0.3, 0.9):
        hits = [
            (i := stats.paired_shares((rng.random(60) < p) * 1.0, np.zeros(60))).low <= p <= i.high for _ in range(400)
        ]
        assert np.mean(hits) >= 0.93


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 60))
def test_paired_shares_of_right_and_wrong_hold_their_value_and_mirror(gained, lost, same):
    n = gained + lost + same
    if n < 2:
        return
    after, before = [1.0] * gained + [0.0] * lost + [1.0] * same, [0.0] * gained + [1.0] * lost + [1.0] * same
    found, mirrored = stats.paired_shares(after, before), stats.paired_shares(before, after)
    assert -1 <= found.low <= found.below <= found.value + 1e-9
    assert found.value - 1e-9 <= found.above <= found.high <= 1
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low), abs=1e-6)
    if gained == lost == 0:
        assert found.above == pytest.approx(1.645**2 / (n + 1.645**2), abs=1e-3)  # about the rule of three


@pytest.mark.parametrize(("n", "lost", "gained"), [(100, 0.1, 0.0), (150, 0.01, 0.02), (60, 0.15, 0.15)])
def test_paired_shares_cover(n, lost, gained):
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        u = rng.random(n)
        found = stats.paired_shares(list((u > 1 - gained).astype(float)), list((u < lost).astype(float)))
        covered += found.low <= gained - lost <= found.high
    assert 0.92 <= covered / 400 <= 0.98


@given(st.integers(1, 400), st.floats(0, 1))
def test_a_share_has_the_beta_quantiles_of_clopper_and_pearson(n, part):
    hits = round(part * n)
    found = stats.share(hits, n)
    low, below = (float(beta.ppf(q, hits, n - hits + 1)) if hits else 0.0 for q in (0.025, 0.05))
    above, high = (float(beta.ppf(q, hits + 1, n - hits)) if hits < n else 1.0 for q in (0.95, 0.975))
    assert (found.low, found.below, found.above, found.high) == pytest.approx((low, below, above, high), abs=1e-9)


def test_resampled_bounds_are_near_those_of_scipys_bca_where_a_jackknife_says_something():
    draws = np.random.default_rng(4).gamma(4.0, size=150)
    ours = stats.resampled([draws], lambda x: float(np.mean(x)), resamples=4000)
    theirs = bootstrap((draws,), np.mean, n_resamples=4000, rng=np.random.default_rng(1)).confidence_interval
    width = theirs.high - theirs.low
    assert abs(ours.low - theirs.low) < 0.05 * width
    assert abs(ours.high - theirs.high) < 0.05 * width


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=40))
def test_macro_f1_is_scikit_learns_over_the_labels_that_occur(pairs):
    truth, picks = np.array(pairs).T
    theirs = metrics.f1_score(truth, picks, labels=np.unique(truth), average="macro", zero_division=0)
    assert macro_f1(truth, picks) == pytest.approx(theirs, abs=1e-12)
    assert mcc(truth, picks) == pytest.approx(metrics.matthews_corrcoef(truth, picks), abs=1e-12)


@given(st.lists(st.integers(0, 3), min_size=8, max_size=40), st.integers(0, 2**30))
def test_auroc_is_scikit_learns_over_the_labels_that_occur(truth, seed):
    rows = np.random.default_rng(seed).dirichlet(np.ones(4), len(truth)).round(1)  # with ties
    theirs = [metrics.roc_auc_score(np.array(truth) == c, rows[:, c]) for c in set(truth) if len(set(truth)) > 1] or [
        0.5
    ]
    assert auroc(np.array(truth), rows) == pytest.approx(np.mean(theirs), abs=1e-12)


def test_items_in_groups_are_no_independent_witnesses():
    """Eight groups of five near copies, nothing differs: the interval of items misses zero far too often, that of
    groups in about five of a hundred."""
    rng, groups, missed = np.random.default_rng(3), [i // 5 for i in range(40)], {"items": 0, "groups": 0}
    for _ in range(400):
        gaps = (rng.normal(0, 1, 8)[groups] + rng.normal(0, 0.5, 40)).tolist()
        for name, values in (("items", gaps), ("groups", stats.by_group(gaps, groups))):
            found = stats.mean(values)
            missed[name] += not found.low <= 0 <= found.high
    assert missed["items"] / 400 > 0.2
    assert missed["groups"] / 400 < 0.09


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 6)), min_size=1, max_size=40))
def test_groups_keep_the_mean(pairs):
    values, groups = [v for v, _ in pairs], [g for _, g in pairs]
    kept = stats.by_group(values, groups)
    assert sum(kept) / len(kept) == pytest.approx(sum(values) / len(values), abs=1e-9)
    assert len(kept) == (len(set(groups)) if len(set(groups)) < len(groups) else len(groups))
    assert stats.by_group(values, None) == stats.by_group(values, groups[:-1]) == values


def test_an_item_that_could_not_be_measured_decides_nothing():
    broken = stats.paired_shares([1.0, float("nan"), 0.5], [1.0, 1.0, 1.0])
    assert broken is not None
    assert (broken.below, broken.above) == (-math.inf, math.inf)


def test_bounds_of_skewed_items_are_no_narrower_than_t_on_either_side():
    values = list(-np.random.default_rng(1).lognormal(-2, 1, 30))
    for some in (values, [-v for v in values]):
        made, n = stats.mean(some), len(some)
        wide = float(scipy_t.ppf(0.95, n - 1)) * float(np.std(some, ddof=1)) / math.sqrt(n)
        assert made is not None
        assert made.below <= made.value - wide + 1e-12
        assert made.above >= made.value + wide - 1e-12
