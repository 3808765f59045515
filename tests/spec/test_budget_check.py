import pytest

from trimtab.analysis.stats import paired_shares
from trimtab.spec.budget import PRESETS, Budget, Limit, preset
from trimtab.spec.budget_check import broken_untouched, fewest_items, never_decided

LACKS = {"labels": "the answers are no labels", "gradient shares": "they were not taken"}


def test_a_limit_that_this_model_cannot_have_is_refused_with_all_others():
    budget = Budget(
        name="mine",
        limits={
            "label_f1": Limit(min=-0.1),
            "dominance": Limit(max=0.5),
            "own-tone": Limit(min=-0.1),
            "kl_generic": Limit(max=1),
        },
    )
    problems = never_decided(budget, LACKS, {}, "name them")
    assert [p.split(":")[0] for p in problems] == ["limits.label_f1", "limits.dominance", "limits.own-tone"]
    assert "the answers are no labels" in problems[0]
    assert problems[2].endswith("no probe of this name is asked; name them")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_can_be_kept_by_a_model_without_labels_and_by_an_untouched_one(name):
    assert never_decided(preset(name), LACKS, {}, "") == []
    assert broken_untouched(preset(name)) == []


@pytest.mark.parametrize("limit", [Limit(min=-0.05), Limit(max=0.2), Limit(min=-0.3, max=0.1)])
def test_a_probe_needs_as_many_prompts_as_a_limit_can_be_shown_with(limit):
    n, room = fewest_items(limit), min(abs(e) for e in (limit.min, limit.max) if e is not None)
    assert paired_shares([0.0] * n, [0.0] * n).above <= room * 1.001
    assert paired_shares([0.0] * (n - 2), [0.0] * (n - 2)).above > room
    budget = Budget(name="mine", limits={"own-tone": limit})
    assert never_decided(budget, {}, {"tone": n}, "") == []
    (problem,) = never_decided(budget, {}, {"tone": n - 1}, "")
    assert f"with {n} prompts and more, the probe has {n - 1}" in problem
    (problem,) = never_decided(budget, {}, {"tones": n}, "")
    assert 'did you mean "tones"' in problem


def test_what_the_base_itself_breaks_is_said():
    budget = Budget(
        name="mine", limits={"refusal": Limit(min=0.05), "length_ratio": Limit(max=0.8), "memorisation": Limit(max=0.6)}
    )
    said = broken_untouched(budget)
    assert [s.split("limits.")[1].split(",")[0] for s in said] == ["refusal", "length_ratio"]
    assert "untouched, Answer length on generic prompts is 1" in said[1]


def test_what_no_number_of_items_can_show_is_refused_with_its_reason():
    from trimtab.analysis.deciding import too_few

    budget = Budget(
        name="mine",
        limits={
            "refusal": Limit(min=-0.001), "facts_lost": Limit(max=0.001), "memorisation": Limit(max=0.5),
            "kl_first_token": Limit(max=0), "over_refusal": Limit(max=0.0), "format_obeyed": Limit(min=-0.05),
        },
    )  # fmt: skip
    edge = [p.split(":")[0] for p in never_decided(budget, {}, {}, "")]
    assert edge == ["limits.memorisation", "limits.kl_first_token"]
    few = too_few(budget)
    assert [p.split(":")[0] for p in few] == ["limits.refusal", "limits.over_refusal", "limits.facts_lost"]
    assert "takes 2,704 prompts" in few[0]
    assert all(too_few(preset(name)) == [] for name in PRESETS)


def test_a_probe_cannot_show_that_nothing_at_all_is_lost():
    (problem,) = never_decided(Budget(name="mine", limits={"own-tone": Limit(min=0.0)}), {}, {"tone": 6}, "")
    assert "no number of prompts" in problem
