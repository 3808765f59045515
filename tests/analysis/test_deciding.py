"""What a sentence promises to decide, decides in four of five draws."""

import numpy as np
import pytest
from scipy.stats import norm

from trimtab.analysis import stats
from trimtab.analysis.deciding import SEEDS, items_needed, to_decide
from trimtab.spec.budget import Limit
from trimtab.spec.numbers import number_of


@pytest.mark.parametrize(("lost", "won", "limit"), [(0.04, 0.02, 0.06), (0.02, 0.02, 0.03), (0.10, 0.06, 0.08)])
def test_a_change_of_a_share_is_decided_in_four_of_five_draws(lost, won, limit):
    before = [0.0] * 200
    after = [1.0] * round(200 * lost) + [-1.0] * round(200 * won)
    seen = stats.paired_shares(after + [0.0] * (200 - len(after)), before)
    need = items_needed(seen.above - seen.value, limit - seen.value, 200, True)
    rng, decided = np.random.default_rng(0), 0
    for _ in range(300):
        drawn = rng.choice([1.0, -1.0, 0.0], need, p=[lost, won, 1 - lost - won])
        decided += stats.paired_shares(drawn, np.zeros(need)).above <= limit
    assert 0.72 <= decided / 300 <= 0.95


def test_a_mean_is_decided_in_four_of_five_draws():
    rng = np.random.default_rng(1)
    seen = stats.mean(np.exp(-3 + 0.8 * norm.ppf((np.arange(100) + 0.5) / 100)).tolist())  # as spread as they come
    limit = seen.value * 1.12
    need = items_needed(seen.above - seen.value, limit - seen.value, 100, False)
    spread = rng.lognormal(-3, 0.8, (300, need))
    spread += seen.value - np.exp(-3 + 0.8**2 / 2)  # so that the true mean is what was seen
    decided = sum((found := stats.mean(row.tolist())) and found.above <= limit for row in spread)
    assert 0.72 <= decided / 300 <= 0.95


def test_what_no_item_contradicts_needs_the_rule_of_three():
    still = stats.paired_shares([0.0] * 24, [0.0] * 24)
    need = items_needed(still.above, 0.02, 24, True)
    assert stats.paired_shares([0.0] * need, [0.0] * need).above <= 0.02
    assert stats.paired_shares([0.0] * (need - 6), [0.0] * (need - 6)).above > 0.02
    sentence = to_decide(number_of("degeneration"), still, Limit(max=0.02))
    assert sentence == f"about {need} prompts, four times in five: --prompts {need}"


def test_on_the_limit_itself_items_do_not_help():
    seen = stats.paired_shares([1.0] * 10 + [0.0] * 190, [0.0] * 200)
    assert to_decide(number_of("over_refusal"), seen, Limit(max=0.05)) == SEEDS
    assert items_needed(0.02, 1e-5, 200, True) is None
