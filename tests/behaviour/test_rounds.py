"""A card in rounds: what is known is not asked on, and what was asked to its end is what a whole card says."""

import pytest

from trimtab.analysis.looks import pieces
from trimtab.behaviour import card as cards
from trimtab.behaviour import rounds
from trimtab.behaviour.drift import Neutral, extended, reference
from trimtab.behaviour.responses import Battery, questions

BATTERY = Battery("short", "en")


@pytest.fixture
def ask(evaluated_models, tmp_path):
    base, _, moved = evaluated_models
    few = reference(base, tmp_path, count=2)

    def measured(still_open, least=0, most=6):
        neutral = Neutral(lambda count: extended(few, base, tmp_path, "en", count), most, least)
        return cards.measure(base, moved, neutral, BATTERY, None, tmp_path, None, still_open)[0]

    return measured


def sizes():
    return {"generic": 6} | {q.name: len(q.items) for q in questions(BATTERY)}


def test_what_is_known_is_not_asked_on(ask):
    seen = []

    def still_open(so_far):
        seen.append(so_far["looks"])
        return {"refusable", "generic"} if len(seen) < 3 else set()

    found = ask(still_open)
    first = {name: pieces(n) for name, n in sizes().items()}
    assert found["looks"]["refusable"] == {"asked": list(first["refusable"][:2]), "of": 100}
    assert found["looks"]["generic"] == {"asked": [3, 6], "of": 6}
    assert found["looks"]["leaning"] == {"asked": [24], "of": 24}  # nothing is limited of it: asked at once
    assert len(found["raw"]["kl_generic"]) == 6
    assert len(found["raw"]["cut_tuned"]) == 6
    assert len(seen) == 3  # before the first question, after the first look, after the last


def test_one_look_where_all_is_known(ask):
    limited = [{"refusable", "generic", "facts"}, set()]
    found = ask(lambda _: limited.pop(0))
    assert {name: found["looks"][name]["asked"] for name in ("refusable", "generic", "facts")} == {
        "refusable": [50],
        "generic": [3],
        "facts": [30],
    }
    assert len(found["raw"]["right_tuned"]) == len(found["raw"]["right_base"]) == 30


def test_as_many_neutral_prompts_as_a_person_asked_for(ask):
    limited = [{"generic"}] + [set()] * 9
    assert ask(lambda _: limited.pop(0), least=5)["looks"]["generic"]["asked"] == [3, 6]


def test_asked_to_its_end_it_is_a_whole_card(ask):
    whole, piecewise = ask(None), ask(lambda _: set(sizes()))
    assert piecewise["looks"]["refusable"]["asked"] == [50, 100]
    assert whole["looks"]["refusable"]["asked"] == [100]
    assert whole["raw"].keys() == piecewise["raw"].keys()
    for key, values in whole["raw"].items():
        assert piecewise["raw"][key] == pytest.approx(values, abs=1e-4), key


def test_no_round_is_begun_that_would_not_fit(monkeypatch):
    """Four seconds a round: after the first one two are left of six, after the second none would be."""
    clock = iter([0.0, 0.0, 0.0, 4.0, 8.0])
    monkeypatch.setattr(rounds.time, "monotonic", lambda: next(clock))
    in_time = rounds.in_time(lambda _: {"facts"}, 6.0)
    assert in_time({"raw": {}}) == {"facts"}  # before the first question nothing is known of how long it takes
    assert in_time({"raw": {"right_tuned": [1.0]}}) == {"facts"}
    assert in_time({"raw": {"right_tuned": [1.0]}}) == set()
