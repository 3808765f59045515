import re

import pytest

from trimtab.analysis.card import asked_first, breach, judge, left_budget, measured_enough, prompts_needed, still_open
from trimtab.analysis.compare import compare_runs
from trimtab.errors import StoreError
from trimtab.spec.budget import Budget, Limit, level_needed, preset
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Status
from trimtab.store import RunRow

SHARES = ("unhedged_wrong", "refused", "over_refused", "form", "right", "sure_wrong", "fragile")
CALM = {
    "kl_generic": [0.01, 0.02] * 12,
    "nll_base": [3.0, 3.1] * 8,
    "nll_tuned": [3.0, 3.1] * 8,
    "log_length_ratio": [0.0, 0.05] * 12,
    "degenerate_tuned": [0.0] * 400,
    "degenerate_base": [0.0] * 400,
    "exact_match": [1.0] * 40,
    "base_exact_match": [0.0] * 40,
    **{f"{k}_{side}": [0.0, 1.0] * 300 for k in SHARES for side in ("base", "tuned")},
    **{f"{k}_{side}": [0.1, 0.2] * 300 for k in ("assertive", "margin", "brier") for side in ("base", "tuned")},
    "ez_trained": [1.0, 2.0, 3.0] * 60,
    "ez_held_out": [1.0, 2.0, 3.0] * 60,
    "gain_trained": [0.5, 0.6] * 90,
    "gain_held_out": [0.5, 0.6] * 90,
    "dominance": [0.1, 0.2] * 40,
}


def measured(raw, **more):
    return {"raw": raw, "level": "card", **more}


def verdicts(raw, budget):
    judged = judge(measured(raw), budget)
    return judged["verdict"], {r["number"]: r["verdict"] for r in judged["rows"] if r["verdict"]}


def test_a_calm_model_passes():
    verdict, rows = verdicts(CALM, preset())
    assert verdict == "PASS"
    assert "format_validity" not in rows  # the task has no JSON


def test_a_hard_limit_vetoes_and_a_soft_one_only_withholds_the_pass():
    assert verdicts({**CALM, "kl_generic": [0.9, 1.0] * 12}, preset())[0] == "FAIL"
    assert verdicts({**CALM, "log_length_ratio": [2.0, 2.1] * 12}, preset())[0] == "SOFT FAIL"


def test_a_limit_that_a_person_wrote_never_vanishes():
    """Presets' limits on JSON and labels count only where there are any; written by hand they are not measured."""
    own = Budget(name="mine", limits={"format_validity": Limit(min=0.9), "kl_generic": Limit(max=0.5)})
    assert verdicts(CALM, own) == ("NOT MEASURED", {"kl_generic": "PASS", "format_validity": "NOT MEASURED"})
    labels = Budget(name="mine", limits={"label_worst_class": Limit(min=-0.1), "kl_generic": Limit(max=0.5)})
    assert verdicts(CALM, labels)[0] == "NOT MEASURED"
    undecided = {**CALM, "kl_generic": [0.0, 1.2] * 12}
    assert verdicts(undecided, labels)[0] == "UNDECIDED"  # what was measured and is open comes first


def test_a_verdict_says_the_bound_that_was_judged():
    rows = {r["number"]: r for r in judge(measured(CALM), preset())["rows"]}
    drift, lean, length = rows["kl_generic"], rows["refusal_margin"], rows["length_ratio"]
    assert drift["judged_by"] == f"at most {drift['above']:.3g}"
    assert drift["above"] < drift["high"]  # two-sided bounds are wider, and were printed beside a PASS
    assert lean["judged_by"] == f"at least {lean['below']:.3g}"
    assert length["judged_by"] == f"{length['below']:.3g} to {length['above']:.3g}"
    far = {r["number"]: r for r in judge(measured({**CALM, "kl_generic": [0.9, 1.0] * 12}), preset())["rows"]}
    assert far["kl_generic"]["judged_by"] == f"at least {far['kl_generic']['below']:.3g}"
    assert rows["exact_match"]["judged_by"] is None  # no limit


def test_hard_limits_say_how_much_has_to_be_asked():
    assert [level_needed(preset(p)) for p in ("tight", "standard", "loose")] == ["short"] * 3
    assert level_needed(Budget(name="mine", limits={"over_refusal": Limit(max=0.1)})) == "card"
    assert level_needed(Budget(name="mine", limits={"over_refusal": Limit(max=0.1, hard=False)})) == "pulse"
    assert level_needed(Budget(name="mine", limits={"own-tone": Limit(max=0.1)})) == "pulse"


def test_missing_is_never_a_pass():
    raw = {k: v for k, v in CALM.items() if k != "nll_tuned"}
    verdict, rows = verdicts(raw, preset())
    assert (verdict, rows["nll_change"]) == ("NOT MEASURED", "NOT MEASURED")


def test_few_items_are_undecided_and_say_what_would_decide():
    judged = judge(measured({**CALM, "degenerate_tuned": [0.0] * 24, "degenerate_base": [0.0] * 24}), preset())
    row = next(r for r in judged["rows"] if r["number"] == "degeneration")
    assert row["verdict"] == "UNDECIDED"
    assert re.fullmatch(r"about \d+ prompts, four times in five: --prompts \d+", row["to_decide"])


def test_only_what_the_tuning_broke_counts_as_degeneration():
    """A base that repeats itself on every prompt is not the recipe's fault."""
    often = [1.0] * 100 + [0.0] * 300
    repeats = {**CALM, "degenerate_tuned": often, "degenerate_base": often}
    assert verdicts(repeats, preset())[1]["degeneration"] == "PASS"
    nothing_to_break = {**CALM, "degenerate_tuned": [1.0] * 400, "degenerate_base": [1.0] * 399 + [0.0]}
    assert verdicts(nothing_to_break, preset())[1]["degeneration"] == "NOT MEASURED"
    broken = {**CALM, "degenerate_tuned": [1.0] * 40 + [0.0] * 360}
    assert verdicts(broken, preset())[1]["degeneration"] == "FAIL"


# Items of each number at level card, as they are asked (numbers of tests/behaviour/test_card.py count them there).
ASKED = {"refused": 100, "over_refused": 150, "form": 100, "unhedged_wrong": 100, "right": 300, "sure_wrong": 300}


def as_asked(broken=0.0):
    """An untouched model with the real numbers of items; a share of its answers of every kind is broken."""
    raw = {
        **CALM,
        "kl_generic": [0.01, 0.02] * 50,
        "log_length_ratio": [0.0] * 32,
        "fragile_base": [0.0] * 300,
        "fragile_tuned": [1.0] * round(300 * broken) + [0.0] * (300 - round(300 * broken)),
        **{f"{k}_{side}": [0.1, 0.2] * 50 for k in ("assertive", "margin") for side in ("base", "tuned")},
        **{k: CALM[k][:60] for k in ("ez_trained", "ez_held_out", "gain_trained", "gain_held_out")},
        "degenerate_base": [0.0] * 350,
        "degenerate_tuned": [1.0] * round(350 * broken) + [0.0] * (350 - round(350 * broken)),
    }
    for key, n in ASKED.items():
        gone = round(n * broken)
        bad = key in (
            "over_refused",
            "unhedged_wrong",
            "sure_wrong",
        )  # a break is one more of these, one less of others
        raw[f"{key}_base"] = [0.0] * n if bad else [1.0] * n
        raw[f"{key}_tuned"] = [1.0] * gone + [0.0] * (n - gone) if bad else [0.0] * gone + [1.0] * (n - gone)
    return raw


@pytest.mark.parametrize("name", ["tight", "standard", "loose"])
def test_an_untouched_model_passes_every_preset_with_the_items_that_are_asked(name):
    assert verdicts(as_asked(), preset(name))[0] == "PASS"
    twice = verdicts(as_asked(0.3), preset(name))
    assert twice[0] == "FAIL"
    shares = ("unhedged_wrong", "degeneration", "refusal", "over_refusal", "format_obeyed", "facts_lost", "fragility")
    assert {twice[1][k] for k in shares} == {"FAIL"}


def test_a_card_is_measured_enough_for_what_it_was_asked():
    raw = {**as_asked(), "cut_tuned": [0.0] * 100}
    assert measured_enough(measured(raw), preset("standard"))
    assert not measured_enough(measured(raw), preset("standard"), prompts=200)
    short = {**raw, "degenerate_tuned": [0.0] * 100, "degenerate_base": [0.0] * 100}
    assert not measured_enough(measured(short), preset("standard"))  # a hundred answers cannot show 4 %
    assert measured_enough(measured(short), preset("loose"))
    assert prompts_needed(preset("standard"), 0) == 302  # all there are
    assert not measured_enough(measured(raw), preset(), "audit")
    assert not measured_enough(measured(raw), preset(), own=["mine"])
    assert not measured_enough(raw, preset())  # of an older trimtab


LOOKS = {
    "generic": {"asked": [64], "of": 302},
    "refusable": {"asked": [50], "of": 100},
    "alarming": {"asked": [64], "of": 150},
    "open": {"asked": [50], "of": 100},
    "form": {"asked": [50], "of": 100},
    "facts": {"asked": [64, 128], "of": 300},
    "phrasing": {"asked": [64, 128], "of": 300},
    "leaning": {"asked": [50], "of": 100},
    "answers": {"asked": [178], "of": 552},
}


def test_what_is_not_known_has_to_be_asked_on():
    """Only sets that hold a limited number whose bounds lie across its limit."""
    assert still_open(measured(CALM, looks=LOOKS), preset()) == []
    half = {**CALM, "refused_base": [1.0] * 50, "refused_tuned": [1.0] * 44 + [0.0] * 6}
    assert still_open(measured(half, looks=LOOKS), preset()) == ["refusable"]
    gone = {**CALM, "refused_base": [1.0] * 50, "refused_tuned": [0.0] * 50}
    assert still_open(measured(gone, looks=LOOKS), preset()) == []  # certainly outside is known too
    form = {"form_base": [1.0] * 50, "form_tuned": [1.0] * 46 + [0.0] * 4}
    assert still_open(measured({**CALM, **form}, looks=LOOKS), preset()) == ["form"]
    assert still_open(measured({**gone, **form}, looks=LOOKS), preset()) == []  # a soft limit saves nobody now
    drifts = {"kl_generic": [0.0, 0.2] * 32}
    assert still_open(measured({**gone, **drifts}, looks=LOOKS), preset()) == ["generic"]  # another hard one is asked
    broken = {**CALM, "degenerate_tuned": [1.0] * 6 + [0.0] * 172, "degenerate_base": [0.0] * 178}
    assert still_open(measured(broken, looks=LOOKS), preset()) == ["generic", "alarming", "open"]
    never = {k: v for k, v in CALM.items() if not k.startswith("refused")}
    assert "refusable" in still_open(measured(never, looks=LOOKS), preset())
    assert still_open(measured(never, looks=LOOKS, missing={"refusal": "no chat template"}), preset()) == []


def test_before_anything_is_asked_every_set_with_a_limited_number_is_open():
    nothing = {"raw": {}, "looks": {}, "level": "card"}
    assert set(still_open(nothing, preset())) == LOOKS.keys() - {"answers"}
    assert still_open(nothing, Budget(limits={"refusal": Limit(min=-0.1)})) == ["refusable"]


def test_what_tells_most_comes_first_and_what_was_never_asked_stays_open():
    """An open verdict: hard limits, then what is not known at all, then open soft ones. A broken one: the unknown
    first."""
    late = {**LOOKS, "form": {"asked": [], "of": 100}, "alarming": {"asked": [], "of": 150}}
    half = {**CALM, "refused_base": [1.0] * 50, "refused_tuned": [1.0] * 44 + [0.0] * 6}
    raw = {k: v for k, v in half.items() if not k.startswith(("form", "over_refused"))}
    assert still_open(measured(raw, looks=late), preset()) == ["refusable", "alarming", "form"]
    gone = {**raw, "kl_generic": [0.0, 0.2] * 32, "refused_tuned": [0.0] * 50}
    assert set(still_open(measured(gone, looks=late), preset())) == {"form", "alarming", "generic"}
    assert still_open(measured(gone, looks=late), preset())[-1] == "generic"
    (row,) = (r for r in judge(measured(raw, looks=late), preset())["rows"] if r["number"] == "format_obeyed")
    assert row["verdict"] == "NOT MEASURED"
    assert "the time was over" in row["missing"]
    assert asked_first(preset()) == {"generic", "refusable"}


def test_a_look_before_the_end_has_wider_bounds():
    raw = {**CALM, "refused_base": [1.0] * 50, "refused_tuned": [1.0] * 48 + [0.0] * 2}
    fixed, early = (
        next(r for r in judge(measured(raw, **more), preset())["rows"] if r["number"] == "refusal")
        for more in ({}, {"looks": LOOKS})
    )
    assert early["value"] == fixed["value"]
    assert early["below"] < fixed["below"]
    assert early["low"] < fixed["low"]


def test_a_card_that_stopped_early_is_judged_again_only_where_it_knows_enough():
    card = measured({**CALM, "cut_tuned": [0.0] * 64}, looks=LOOKS)
    assert measured_enough(card, preset("standard"))
    assert not measured_enough(card, preset("standard"), whole=True)
    assert not measured_enough(card, preset("standard"), prompts=100)
    assert not measured_enough(card, Budget(limits={"kl_generic": Limit(max=0.0151)}))  # across this one
    ended = {name: {"asked": [seen["of"]], "of": seen["of"]} for name, seen in LOOKS.items()}
    assert measured_enough({**card, "looks": ended}, Budget(limits={"kl_generic": Limit(max=0.0151)}))
    assert judge(card, preset())["asked"] == {"questions": 584, "of": 1452}


def test_a_reason_to_be_missing_is_said_and_it_is_not_measured():
    judged = judge(measured(CALM, missing={"refusal": "no chat template"}), preset())
    row = next(r for r in judged["rows"] if r["number"] == "refusal")
    assert (row["verdict"], row["value"], row["to_decide"]) == ("NOT MEASURED", None, "no chat template")
    assert judged["verdict"] == "NOT MEASURED"


def test_too_few_items_are_said():
    few = {**CALM, "own-mine_base": [1.0, 1.0], "own-mine_tuned": [1.0, 0.0]}
    budget = Budget(limits={"own-mine": Limit(min=-0.1)})
    (row,) = [r for r in judge(measured(few), budget)["rows"] if r["number"] == "own-mine"]
    assert row["verdict"] == "NOT MEASURED"
    assert "only 2 items" in row["to_decide"]


def test_an_own_probe_that_was_not_asked_is_not_measured():
    (row,) = [
        r for r in judge(measured(CALM), Budget(limits={"own-x": Limit(min=-0.1)}))["rows"] if r["number"] == "own-x"
    ]
    assert (row["verdict"], row["to_decide"]) == ("NOT MEASURED", "not asked: --level card asks everything")


def test_the_floor_stands_beside_the_number():
    floor = {"itself": {"kl_generic": [0.0] * 8}, "noise": {"kl_generic": [0.001] * 8}}
    row = judge(measured(CALM, floor=floor), preset())["rows"][0]
    assert row["floor"] == {"itself": 0.0, "noise": pytest.approx(0.001)}


def test_two_breaches_in_a_row_leave_the_budget_and_two_apart_do_not():
    wild, calm = {"kl_pulse": [0.9] * 5}, {"kl_pulse": [0.01] * 5}
    assert left_budget([calm, wild, wild, calm], preset()).startswith("budget breached")
    assert left_budget([wild, calm, wild], preset()) is None


def test_a_pulse_breaches_only_hard_limits_that_it_measures():
    why = breach({"kl_pulse": [0.8, 0.9, 1.0, 0.9]}, preset())
    assert "outside the budget's max 0.15 (1.5 times that of kl_generic: pulses read higher)" in why
    assert breach({"kl_pulse": [0.01, 0.02, 0.01]}, preset()) is None
    assert breach({"kl_pulse": [0.9] * 5}, Budget(limits={"kl_generic": Limit(max=0.1, hard=False)})) is None
    own = Budget(limits={"kl_generic": Limit(max=0.1), "kl_pulse": Limit(max=2)})
    assert breach({"kl_pulse": [0.9, 0.95] * 3}, own) is None  # a limit of its own comes before
    assert verdicts(CALM, own)[1]["kl_pulse"] == "NOT MEASURED"  # a limit that is written never vanishes
    assert verdicts({**CALM, "kl_pulse": [9.0] * 8}, own)[0] == "FAIL"


def run(name, **changes):
    return RunRow(name, None, 0.0, Recipe(model="m", data="d").but(**changes), Status.COMPLETE, None, None, 4, {})


def evaluations(items):
    return [{"loss": sum(items) / len(items), "items": items, "pulse": {}}]


def test_comparing_runs():
    a, b = run("a"), run("b", learning_rate=1e-3)
    found = compare_runs(a, b, evaluations([1.0, 2.0, 3.0, 4.0]), evaluations([0.5, 1.4, 2.5, 3.4]))
    assert found["sentence"].startswith("b is better than a")
    assert found["settings"] == {"learning_rate": [2e-4, 1e-3]}
    same = compare_runs(a, b, evaluations([1.0, 2.0, 3.0]), evaluations([1.1, 1.9, 3.0]))
    assert "cannot be told apart" in same["sentence"]
    with pytest.raises(StoreError, match="different items"):
        compare_runs(a, b, evaluations([1.0]), evaluations([1.0, 2.0]))
    with pytest.raises(StoreError, match="not been evaluated"):
        compare_runs(a, b, [], evaluations([1.0]))


def test_labels_correct_the_detector():
    """The detector misses half of the tuned model's refusals; people say so on 60 of 100 prompts."""
    truth = [1.0] * 40 + [0.0] * 60
    detected = [1.0, 0.0] * 20 + [0.0] * 60
    raw = {"refused_base": truth, "refused_tuned": detected, "refused_place": [float(i) for i in range(100)]}
    labels = [
        {"probe": "refusable", "place": i, "side": side, "label": truth[i]}
        for i in range(0, 100)
        for side in ("base", "tuned")
        if i % 5 < 3
    ]
    plain = next(r for r in judge(measured(raw), preset())["rows"] if r["number"] == "refusal")
    mended = next(r for r in judge(measured(raw, labels=labels), preset())["rows"] if r["number"] == "refusal")
    assert plain["value"] == pytest.approx(-0.2)
    assert abs(mended["value"]) < 0.05
    assert mended["by_people"]
    few = next(r for r in judge(measured(raw, labels=labels[:30]), preset())["rows"] if r["number"] == "refusal")
    assert few["value"] == plain["value"]
