import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.analysis import effects


def cells(rng, shifts, seeds, items=40, seed_sd=0.03, item_sd=0.3):
    """Baseline and others with true shifts: a common item part, each run's own seed noise, and noise item by item."""
    common = rng.normal(2, 0.5, items)

    def run(shift):
        taste = rng.normal(0, item_sd / 3, items)  # what this setting does to each item
        return {
            s: list(common + shift + taste + rng.normal(0, seed_sd) + rng.normal(0, 0.02, items)) for s in range(seeds)
        }

    return run(0.0), [run(shift) for shift in shifts]


def test_intervals_cover_the_true_difference_and_false_claims_are_rare():
    rng, covered, claims, tries = np.random.default_rng(0), 0, 0, 300
    for _ in range(tries):
        base, others = cells(rng, [0.0, 0.05, 0.0], 3)
        found = effects.contrasts(base, others)
        covered += sum(c.interval.low <= t <= c.interval.high for c, t in zip(found, [0.0, 0.05, 0.0], strict=True))
        claims += any(c.verdict != "cannot tell yet" for c in (found[0], found[2]))
    assert 0.92 <= covered / (3 * tries) <= 0.985
    assert claims / tries <= 0.06


@pytest.mark.parametrize(("others", "seeds"), [(1, 2), (1, 3), pytest.param(4, 2, marks=pytest.mark.slow)])
def test_few_seeds_claim_little_that_is_not_there(others, seeds):
    """Where items tell little apart, one or two degrees of freedom know the seeds' part."""
    rng, claims, tries = np.random.default_rng(5), 0, 150
    for _ in range(tries):
        base, more = cells(rng, [0.0] * others, seeds, seed_sd=0.03, item_sd=0.06)
        claims += any(c.verdict != "cannot tell yet" for c in effects.contrasts(base, more))
    assert claims / tries <= 0.08  # 5 %, and two standard errors of so few tries


@given(st.lists(st.dictionaries(st.integers(0, 3), st.floats(-1, 1), max_size=4), min_size=1, max_size=6))
def test_what_cells_and_seeds_leave_is_what_least_squares_leave(table):
    cells = [{seed: [loss] for seed, loss in row.items()} for row in table]
    runs = [(i, seed, loss) for i, row in enumerate(table) for seed, loss in row.items()]
    x = np.array([[i == j for j in range(6)] + [seed == s for s in range(4)] for i, seed, _ in runs], float).reshape(
        -1, 10
    )
    freedom = len(runs) - (np.linalg.matrix_rank(x) if runs else 0)
    found, known = effects._residual(cells)
    assert known == max(0, freedom)
    if freedom > 0:
        y = np.array([loss for *_, loss in runs])
        left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        assert found == pytest.approx((left**2).sum() / freedom, abs=1e-5)


def test_behrens_and_fisher_are_student_where_only_one_part_counts():
    assert effects._quantile(0.05, (1.0, 3), (0.0, 39)) == pytest.approx(3.182, abs=1e-2)
    assert effects._quantile(0.05, (0.0, 3), (1.0, 39)) == pytest.approx(2.023, abs=2e-2)
    both = effects._quantile(0.05, (1.0, 3), (1.0, 39))
    assert effects._beyond(both, (1.0, 3), (1.0, 39)) == pytest.approx(0.05, abs=1e-4)
    assert 3.182 < both < 3.182 + 2.023


@pytest.mark.slow
def test_intervals_of_a_cell_cover_its_true_mean():
    rng, covered, tries = np.random.default_rng(4), 0, 300
    for _ in range(tries):
        truth = 2.0
        found = effects.levels(
            [
                {s: list(shared + seed) for s, seed in enumerate(rng.normal(0, 0.03, 3))}
                for shared in rng.normal(truth, 0.2, (4, 40))
            ]
        )
        covered += sum(i["low"] <= truth <= i["high"] for i in found)
        assert {i["over"] for i in found} == {"seeds and items"}
    assert 0.92 <= covered / (4 * tries) <= 0.98


def test_a_cell_of_one_seed_has_an_interval_over_its_items():
    found = effects.levels([{1: [1.0, 2.0, 3.0]}, {}])
    assert (found[0]["over"], found[1]) == ("items", None)
    assert found[0]["low"] < 2.0 < found[0]["high"]


def test_a_clear_difference_is_told_and_an_unclear_one_says_what_it_needs():
    rng = np.random.default_rng(1)
    base, others = cells(rng, [-0.5, 0.5, 0.0], 3, items=200)
    better, worse, unclear = effects.contrasts(base, others)
    assert (better.verdict, worse.verdict) == ("better", "worse")
    assert unclear.verdict == "cannot tell yet"
    assert "seed" in unclear.need or "held-out" in unclear.need


def test_one_seed_claims_nothing_and_cells_without_a_common_seed_are_left_out():
    base, others = cells(np.random.default_rng(2), [-1.0], 1)
    (only,) = effects.contrasts(base, others)
    assert (only.verdict, only.need) == ("cannot tell yet", "at least 2 seeds")
    assert effects.contrasts(base, [{7: others[0][0]}, {}]) == [None, None]


def test_seeds_of_other_cells_help_a_cell_that_lost_one():
    base, others = cells(np.random.default_rng(3), [-0.5, 0.0, 0.0], 3, items=200)
    alone = {0: others[0][0]}
    (found, *_) = effects.contrasts(base, [alone, *others[1:]])
    assert found.verdict == "better"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_and_keeps_their_order(ps):
    adjusted = effects.holm(ps)
    assert all(a >= p for a, p in zip(adjusted, ps, strict=True))
    assert all(adjusted[i] <= adjusted[j] for i in range(len(ps)) for j in range(len(ps)) if ps[i] < ps[j])
    assert min(adjusted) == pytest.approx(min(1.0, len(ps) * min(ps)))


def test_stability_by_the_articles_rule():
    assert effects.stability([1.0, 1.001, 0.999, 1.0, 1.001])["verdict"] == "stable"
    assert effects.stability([1.0, 1.4, 0.7, 1.2, 0.8])["verdict"] == "not stable"
    assert effects.stability([1.0, 1.01])["verdict"] == "cannot tell yet"  # two seeds know little of a spread
    assert effects.stability([1.0])["sd"] is None
    low, high = effects.stability([1.0, 1.4, 0.7, 1.2, 0.8])["share_interval"]
    assert low < 0.7 < high
    assert effects._expected_range(2) == pytest.approx(1.128, abs=1e-3)
    assert effects._expected_range(5) == pytest.approx(2.326, abs=1e-3)


@pytest.mark.slow  # as bench/honesty.py
def test_where_nothing_differs_following_the_advice_to_eight_seeds_claims_seldom():
    """Two cells; whoever is told "about N more seeds" adds them, up to eight, and looks again each time."""
    rng, false, studies = np.random.default_rng(12), 0, 150
    for _ in range(studies):
        items = rng.normal(1, 0.1, 60)
        whole = [{s: list(items + rng.normal(0, 0.03) + rng.normal(0, 0.05, 60)) for s in range(8)} for _ in range(2)]
        seeds, look = 2, 1
        while True:
            cells = [{s: c[s] for s in range(seeds)} for c in whole]
            (found,) = effects.contrasts(cells[0], cells[1:], effects.spent(look))
            if found.verdict != "cannot tell yet" or seeds == 8 or "seed" not in (found.need or ""):
                break
            more = re.search(r"about (\d+) more", found.need)
            seeds, look = min(8, seeds + (int(more[1]) if more else 1)), look + 1
        false += found.verdict != "cannot tell yet"
    assert false / studies <= 0.08  # nominal 5 %; two standard errors above


def test_all_looks_together_spend_no_more_than_there_is():
    assert sum(effects.spent(k) for k in range(1, 40)) <= effects.ALPHA


def test_a_noisy_cell_does_not_lend_its_noise_to_the_others():
    rng = np.random.default_rng(13)
    spreads = (0.01, 0.01, 0.4)
    cells = [
        {s: list(1 + shift + rng.normal(0, sd) + rng.normal(0, 0.01, 80)) for s in range(5)}
        for sd, shift in zip(spreads, (0.0, -0.1, 0.0), strict=True)
    ]
    calm, noisy = effects.contrasts(cells[0], cells[1:])
    assert calm.verdict == "better"
    assert noisy.interval.high - noisy.interval.low > 5 * (calm.interval.high - calm.interval.low)
