"""The card's page: one file that needs no network, whose sentence counts what the rows say."""

import re
from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.analysis.card import judge
from trimtab.reporting.card import card_html, most_changed, sentence, write_card
from trimtab.spec.budget import preset
from trimtab.spec.status import Verdict

EVIL = "<script src='https://x.example/a.js'></script>"


def sample(probe, base, tuned):
    return {"probe": probe, "prompt": f"{probe}?", "reference": None, "base": base, "tuned": tuned}


@pytest.fixture
def judged():
    raw = {"kl_generic": [0.01, 0.02, 0.03] * 8, "same_choice": [0.9] * 24}
    made = judge({"raw": raw, "level": "card", "language": "en", "seconds": {"drift": 2.0}}, preset())
    return {**made, "run": "r-s1", "model": EVIL, "data": "d", "epochs": [], "samples": [sample("task", EVIL, "")]}


def test_what_models_wrote_is_text_on_the_page_and_nothing_is_fetched(judged, tmp_path):
    text = write_card(judged, tmp_path / "new" / "card.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert text.count("&lt;script") == 2
    assert not re.search(r'(src|href)="?https?:', text)
    assert "(empty)" in text
    assert "{{" not in text
    assert sentence(judged) in text
    assert 'aria-label="The card against the budget"' in text
    assert all(text.count(escape(r["title"], quote=False)) for r in judged["rows"])


@given(st.lists(st.sampled_from([*list(Verdict), None]), max_size=12))
def test_the_sentence_counts_every_limit_once(verdicts):
    rows = [{"title": f"Number {i}, said longer", "verdict": v} for i, v in enumerate(verdicts)]
    text = sentence({"rows": rows})
    limited = [v for v in verdicts if v]
    assert text.startswith(f"{limited.count(Verdict.PASS)} of {len(limited)} limits hold")
    heads = {Verdict.FAIL: "Outside: ", Verdict.UNDECIDED: "Not decided: ", Verdict.NOT_MEASURED: "Not measured: "}
    for verdict, head in heads.items():
        named = re.search(head + r"([^.]*)", text)
        wanted = [f"number {i}" for i, v in enumerate(verdicts) if v == verdict]
        assert (named.group(1).split("; ") if named else []) == wanted


def test_answers_that_share_fewest_words_come_first_and_equal_ones_never():
    some = [
        sample("task", "turn it on", "turn it on"),
        sample("task", "turn it on", "Turn it off"),
        sample("task", "turn it on", "no"),
        sample("task", "a b c d e f g h", "a b c 1 2 3 4 5"),  # three words, but of thirteen
        sample("open", "a b c d", "a b c e"),
    ]
    assert [(s["probe"], s["tuned"]) for s in most_changed(some)] == [
        ("task", "no"),
        ("task", "a b c 1 2 3 4 5"),
        ("task", "Turn it off"),
        ("open", "a b c e"),
    ]


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 30), min_size=1))
def test_every_kind_of_prompt_has_a_place_and_the_page_stays_short(kinds):
    shown = most_changed([sample(k, "x", f"y {i}") for k, n in kinds.items() for i in range(n)])
    counted = {k: sum(s["probe"] == k for s in shown) for k in kinds}
    assert all(counted[k] == min(n, max(2, 12 // len(kinds))) for k, n in kinds.items())


def test_a_card_that_measured_nothing_has_a_page():
    nothing = {**judge({"raw": {}, "level": "pulse"}, preset()), "run": "r", "epochs": [], "samples": []}
    assert "0 of " in sentence(nothing)
    text = card_html(nothing)
    assert "NOT MEASURED" in text
    assert 'class="rail"' not in text[: text.index("Every number")]  # no empty bar as if it were a measurement
