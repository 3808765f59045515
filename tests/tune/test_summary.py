import pytest

from tests.tune.test_race import outcome
from trimtab.tune.summary import summary, verdict_sentence

BASE = {"metric": "exact_match", "numbers": {"exact_match": [0.0] * 10, "overlap": [0.1] * 10}}
CARD = {"rows": [{"number": "kl_generic", "verdict": "FAIL"}, {"number": "nll_change", "verdict": "UNDECIDED"}]}


def made(shares, verdict):
    outcomes = [outcome(1e-3, 1.0, 0.1) for _ in shares]
    outcomes = [type(o)(o.recipe.but(seed=i), o.status, o.loss, o.items, o.kl) for i, o in enumerate(outcomes)]
    numbers = {
        o.recipe.run_id: {"exact_match": [1.0] * round(10 * s) + [0.0] * round(10 - 10 * s), "overlap": [s] * 10}
        for o, s in zip(outcomes, shares, strict=True)
    }
    return summary(outcomes[0].recipe, outcomes, numbers, BASE, verdict, 3)


def test_three_seeds_have_intervals_that_stay_shares():
    result = made([0.9, 1.0, 0.8], "PASS")
    spread = result["over_seeds"]["exact_match"]
    assert spread["value"] == pytest.approx(0.9)
    assert 0 <= spread["low"] < 0.9 < spread["high"] == 1.0
    assert result["confirmed"]
    assert "over 3 seeds" in verdict_sentence(result, {"rows": []})


def test_one_seed_claims_nothing():
    result = made([0.5], "PASS")
    assert not result["confirmed"]
    assert result["over_seeds"]["exact_match"]["low"] is None
    assert result["gain"]["low"] is None
    assert "without an interval" in verdict_sentence(result, {"rows": []})


def test_a_failed_budget_is_not_called_a_recommendation():
    sentence = verdict_sentence(made([0.5, 0.6, 0.7], "FAIL"), CARD)
    assert sentence.startswith("Nothing is recommended inside this budget")
    assert "fails kl_generic; undecided: nll_change" in sentence
