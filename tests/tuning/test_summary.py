import pytest

from tests.tuning.test_race import outcome
from trimtab.tuning.summary import needs_no_tuning, reasons, seed_in_words, summary, verdict_sentence

BASE = {"metric": "exact_match", "numbers": {"exact_match": [0.0] * 10, "overlap": [0.1] * 10}}
CARD = {
    "verdict": "FAIL",
    "rows": [
        {"number": "kl_generic", "verdict": "FAIL", "hard": True, "value": 0.9},
        {"number": "nll_change", "verdict": "UNDECIDED", "hard": False, "value": 0.1},
        {"number": "refusal", "verdict": "NOT MEASURED", "hard": True, "value": None},
    ],
}
KEPT = {"number": "refusal", "verdict": "PASS", "hard": True, "value": 0.0}
PASSED = {"verdict": "PASS", "rows": [KEPT]}


def with_rows(*rows):
    return {"verdict": "UNDECIDED", "rows": list(rows)}


def made(shares, card, **how):
    outcomes = [outcome(1e-3, 1.0, 0.1) for _ in shares]
    outcomes = [type(o)(o.recipe.but(seed=i), o.status, o.loss, o.items, o.drift) for i, o in enumerate(outcomes)]
    numbers = {
        o.recipe.run_id: {"exact_match": [1.0] * round(10 * s) + [0.0] * round(10 - 10 * s), "overlap": [s] * 10}
        for o, s in zip(outcomes, shares, strict=True)
    }
    return summary(outcomes[0].recipe, outcomes, numbers, BASE, card, 3, **how)


@pytest.mark.parametrize(
    ("shares", "said"),
    [([0.9], "the median seed"), ([0.9, 0.8], "the worse of two seeds"), ([0.9, 0.8, 0.7], "the median seed"),
     ([0.9, 0.8, 0.7, 0.6], "the worse of the two seeds in the middle")],
)  # fmt: skip
def test_the_seed_that_is_handed_over_is_named_for_what_it_is(shares, said):
    assert seed_in_words(made(shares, PASSED)) == said


def test_three_seeds_have_intervals_that_stay_shares():
    result = made([0.9, 1.0, 0.8], PASSED)
    spread = result["over_seeds"]["exact_match"]
    assert spread["value"] == pytest.approx(0.9)
    assert 0 <= spread["low"] < 0.9 < spread["high"] == 1.0
    agreeing = made([0.5, 0.5, 0.5], PASSED)["over_seeds"]["exact_match"]
    assert agreeing["low"] < 0.4 < 0.6 < agreeing["high"]
    assert result["confirmed"]
    assert "over 2 seeds that chose nothing" in verdict_sentence(result)
    assert result["tuned"] == pytest.approx(0.9)  # of the second and the third


def test_a_first_seed_that_chose_nothing_counts():
    result = made([0.3, 0.5, 0.4], PASSED, first_chose=False)
    assert (result["counted"], result["gain"]["n"]) == (3, 3)
    assert result["tuned"] == pytest.approx(0.4)
    assert "over 3 seeds that chose nothing" in verdict_sentence(result)


def test_one_seed_claims_nothing():
    result = made([0.5], PASSED)
    assert not result["confirmed"]
    assert result["over_seeds"]["exact_match"]["low"] is None
    assert result["gain"]["low"] is None
    assert "without an interval" in verdict_sentence(result)


def test_a_failed_budget_is_not_called_a_recommendation():
    sentence = verdict_sentence(made([0.5, 0.6, 0.7], CARD))
    assert sentence.startswith("Nothing is recommended inside this budget")
    assert "fails kl_generic; undecided: nll_change (soft); 1 limited numbers not measured: trimtab card" in sentence


@pytest.mark.parametrize(
    ("shares", "card", "standing", "head"),
    [
        ([0.9, 1.0, 0.8], PASSED, "recommended", "Recommended: "),
        ([0.0, 0.0, 0.0], PASSED, "no gain", "Nothing is recommended: no gain"),
        ([0.1, 0.0, 0.0], PASSED, "no gain", "Nothing is recommended: no gain"),
        ([0.9], PASSED, "unconfirmed", "Not confirmed"),
        (
            [0.9, 1.0, 0.8],
            with_rows(KEPT, {"number": "length_ratio", "verdict": "FAIL", "hard": False, "value": 3.0}),
            "caution",
            "Recommended with caution",
        ),
        ([0.9, 1.0, 0.8], with_rows(), "not shown", "Better at the task; behaviour not shown"),
        ([0.9, 1.0, 0.8], with_rows({**KEPT, "verdict": "UNDECIDED"}), "not shown", "Better at the task"),
        (
            [0.9, 1.0, 0.8],
            with_rows(KEPT, {**KEPT, "verdict": "NOT MEASURED", "value": None}),
            "not shown",
            "Better at",
        ),
    ],
)
def test_no_more_is_said_than_was_shown(shares, card, standing, head):
    result = made(shares, card)
    assert result["standing"] == standing
    assert verdict_sentence(result).startswith(head)


def test_a_recipe_says_why_each_value_stands_there():
    start = outcome(1e-3, 1.0, 0.1).recipe
    kept = start.but(learning_rate=3e-3)
    smaller = kept.but(gradient_accumulation_steps=kept.gradient_accumulation_steps * 2, learning_rate=2e-3)
    plan = [
        {"setting": "learning_rate", "value": 1e-3, "reason": "published recipes"},
        {"setting": "r", "value": start.r, "reason": "the commonest"},
        {"setting": "gradient_accumulation_steps", "value": start.gradient_accumulation_steps, "reason": "16 = 8 × 2"},
    ]
    decisions = [
        {"place": p, "sentence": s, "evidence": {"recipe": r.model_dump(mode="json")} if r else {}}
        for p, s, r in (
            ("plan", "Start.", start),
            ("learning_rate", "0.003 is kept.", kept),
            ("skipped", "Skipped.", None),
            ("batch", "32 is kept.", smaller),
        )
    ]
    said = reasons(smaller.but(seed=7), plan, decisions)
    assert said["r"] == "the commonest"
    assert said["learning_rate"] == "the study, not the plan's 0.001: 32 is kept."  # the rate followed the batch
    assert "32 is kept" in said["gradient_accumulation_steps"]
    assert "median" in said["seed"]
    assert "median" not in str(reasons(smaller, plan, decisions).get("seed"))
    back = reasons(start, plan, [*decisions, {**decisions[0], "sentence": "Back."}])
    assert back["learning_rate"] == "published recipes"


def test_a_probe_that_was_not_beaten_is_said_to_be_enough():
    even = {**made([0.3, 0.4, 0.2], PASSED), "standing": "no gain", "baseline": "frozen probe"}
    assert verdict_sentence(even).startswith("Nothing is recommended: the frozen probe does as well without tuning")
    assert needs_no_tuning(even)
    assert not needs_no_tuning({**even, "standing": "recommended"})
    assert not needs_no_tuning({**even, "baseline": "untouched"})
    assert "over the base model" in verdict_sentence({**even, "baseline": "untouched"})
