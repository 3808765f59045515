"""A card in rounds: what is known is not asked on, and what was asked to its end is what a whole card says."""

import pytest

from trimtab.behaviour import card as cards
from trimtab.behaviour import rounds
from trimtab.behaviour.drift import Neutral, extended, reference
from trimtab.behaviour.responses import Battery, questions

BATTERY = Battery("short", "en")


@pytest.fixture
def ask(evaluated_models, tmp_path):
    base, _, moved = evaluated_models
    few = reference(base, tmp_path, count=2)

    def measured(still_open, least=0, most=6, battery=BATTERY, **timed):
        neutral = Neutral(lambda count: extended(few, base, tmp_path, "en", count), most, least)
        until = still_open and rounds.Until(still_open, **timed)
        return cards.measure(base, moved, neutral, battery, None, tmp_path, None, until)[0]

    return measured


def sizes(battery=BATTERY):
    return {"generic": 6} | {q.name: len(q.items) for q in questions(battery)}


def test_what_is_known_is_not_asked_on(ask):
    seen = []

    def still_open(so_far):
        seen.append(so_far["looks"])
        return {"refusable", "generic"} if len(seen) < 3 else set()

    found = ask(still_open)
    assert found["looks"]["refusable"] == {"asked": [50, 100], "of": 100}
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


def test_with_a_time_what_has_to_be_asked_comes_first_and_the_rest_as_far_as_it_fits(ask, monkeypatch):
    """Two of six sets fit; of what is never asked a card says so, and another card would go on."""
    card = Battery("card", "en")
    took = {"alarming": 4.0, "open": 3.0, "form": 30.0, "phrasing": 2.0, "refusable": 9.0}
    monkeypatch.setattr(rounds.Asked, "expected", lambda _, name: took.get(name, 100.0))
    monkeypatch.setattr(rounds.Until, "left", property(lambda _: left.pop(0)))
    left = [8.0, 0.0, 0.0]
    found = ask(lambda _: ["alarming", "form", "open", "phrasing"], battery=card, first={"refusable"}, seconds=60.0)
    asked = {name: seen["asked"] for name, seen in found["looks"].items()}
    assert asked["refusable"] == [50]
    assert asked["facts"] == [32]
    assert asked["alarming"] == [32]
    assert asked["open"] == [50]
    assert asked["form"] == asked["phrasing"] == []
    assert "form_tuned" not in found["raw"]
    assert found["missing"]["token_time"] == "the time was over: --whole measures it"


@pytest.mark.slow  # its neighbours ask in the same order
def test_what_is_limited_by_nothing_is_asked_last_where_there_is_time(ask, monkeypatch):
    monkeypatch.setattr(rounds.Asked, "expected", lambda *_: 0.0)
    monkeypatch.setattr(cards, "speeds", lambda *_: {})
    found = ask(lambda _: [], battery=BATTERY, seconds=1e6)
    assert {k: v["asked"][-1] for k, v in found["looks"].items() if k != "answers"} == sizes()


def test_what_fits_is_chosen_in_the_order_of_what_it_tells():
    until = rounds.Until(lambda _: [], seconds=10.0)
    seconds = {"a": 6.0, "b": 5.0, "c": 3.0, "d": 2.0}
    assert until.fitting(list(seconds), seconds.get) == ["a", "c"]
    assert rounds.Until(lambda _: []).fitting(list(seconds), seconds.get) == list(seconds)


def test_a_set_costs_what_its_own_questions_took_else_what_others_of_its_kind_did(evaluated_models, tmp_path):
    base, _, moved = evaluated_models
    few = reference(base, tmp_path, count=2)
    neutral = Neutral(lambda count: extended(few, base, tmp_path, "en", count), 6)
    asked = rounds.Asked(base, moved, neutral, Battery("card", "en"), None, True)
    assert asked.expected("alarming") == 0.0  # nothing is known before the first answer
    asked.counts |= {"refusable": [50], "facts": [32], "generic": [3]}
    asked.said.seconds, asked.base_said.seconds = {"refusable": 8.0, "facts": 4.0}, {"refusable": 2.0}
    asked.seconds = {"generic": 12.0, "drift": 12.0 - 10.0 * 64 * (35 + 3) / (32 * (35 + 50))}  # as dear a token
    assert asked.expected("refusable") == pytest.approx(10.0)
    assert asked.expected("generic") == pytest.approx(12.0)
    assert asked.expected("alarming") == pytest.approx(10.0 * (35 + 32) / (35 + 50))  # as many tokens, 32 at once
    assert 5.0 < asked.expected("open") < 10.0
    assert asked.expected("phrasing") == pytest.approx(2 * 4.0)


def test_what_a_shorter_card_does_not_ask_stays_open(ask):
    found = ask(lambda _: {"alarming", "phrasing", "generic"})
    assert "alarming" not in found["looks"]
    assert found["looks"]["generic"]["asked"][-1] == 6
