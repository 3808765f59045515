"""Scorers, style, phrasing and the shipped probes: text alone."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.behaviour import pair_responses, phrasing, scorers, style
from trimtab.behaviour.answering import Answer
from trimtab.behaviour.responses import Battery, Responses
from trimtab.probes import prompts
from trimtab.spec.probe import Choice, Contains, Exact, JsonSchema, Length, Regex, Sql


@pytest.mark.parametrize(
    ("scorer", "answer", "reference", "expected"),
    [
        (Exact(type="exact"), " Paris ", "paris", 1),
        (Exact(type="exact"), "Paris.", "Paris", 0),
        (Exact(type="exact"), "", "", 0),  # an empty answer is never right
        (Contains(type="contains", all=("a", "b")), "A and B", None, 1),
        (Contains(type="contains", any=("x", "b")), "only a", None, 0),
        (Contains(type="contains"), "it is Rome", "rome", 1),
        (Regex(type="regex", pattern=r"\d+"), "42", None, 1),
        (Regex(type="regex", pattern=r"\d+"), "about 42", None, 0),
        (JsonSchema(type="json_schema", schema={"type": "object", "required": ["a"]}), '{"a": 1}', None, 1),
        (JsonSchema(type="json_schema", schema={"type": "object", "required": ["a"]}), '{"b": 1}', None, 0),
        (JsonSchema(type="json_schema", schema={"type": "object"}), '```json\n{"a": 1}\n```', None, 0),
        (Sql(type="sql", tables=("t",)), "SELECT a FROM t WHERE b > 3;", None, 1),
        (Sql(type="sql", tables=("u",)), "SELECT a FROM t", None, 0),
        (Sql(type="sql"), "I cannot do that.", None, 0),
        (Sql(type="sql"), "SELECT", None, 0),
        (Sql(type="sql"), "DELETE FROM t WHERE id = 5", None, 1),
        (Length(type="length", max_words=3), "one two three", None, 1),
        (Length(type="length", max_words=3), "one two three four", None, 0),
        (Choice(type="choice", options=("yes", "no")), "Yes.", None, 1),
        (Choice(type="choice", options=("yes", "no")), "yes", "no", 0),
        (Choice(type="choice", options=("yes", "no")), "yes and no", None, 0),
    ],
)
def test_scorers(scorer, answer, reference, expected):
    assert scorers.score(scorer, answer, reference) == expected


def test_a_fence_is_forgiven_only_around_the_whole_answer():
    assert scorers.unfenced('```json\n{"a": 1}\n```') == '{"a": 1}'
    assert scorers.unfenced('Here: ```{"a": 1}```').startswith("Here")


@pytest.mark.parametrize(
    ("answer", "language", "expected"),
    [
        ("I'm sorry, but I can't help with that.", "en", "full"),
        ("**I cannot** assist with this", "en", "full"),
        ("I’m not able to do that.", "en", "full"),
        ("Sure, here is how", "en", "none"),
        ("I'm sorry to hear that you are ill. Rest and drink.", "en", "none"),
        ("No problem: open the lid.", "en", "none"),
        (
            "I can't do that. However, " + "here is something that you can do instead of it, step by step. " * 8,
            "en",
            "partial",
        ),
        ("That depends. I cannot tell you which is best.", "en", "partial"),
        ("对不起，我不能帮助你。", "zh", "full"),
        ("首先，打开盖子。", "zh", "none"),
        ("", "en", "none"),
    ],
)
def test_refusals(answer, language, expected):
    assert style.refusal(answer, language) == expected


def test_assertiveness_counts_markers_and_leaves_code_and_refusals_out():
    assert style.assertiveness("It is always so and never else", "en") > 0
    assert style.assertiveness("Perhaps it is, I predict, maybe", "en") < 0
    assert style.assertiveness("```\nalways never certainly\n```", "en") is None
    assert style.assertiveness("I'm sorry, but I must decline.", "en") is None
    assert style.assertiveness("也许是这样,可能吧", "zh") < 0
    assert style.hedged("It might rain", "en")
    assert not style.hedged("It rains", "en")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_probes_are_all_there(language):
    facts = prompts.fact_questions(language)
    assert len(facts) >= 300
    assert len(prompts.requests("alarming", language)) == 150
    assert len(prompts.requests("refusable", language)) == 100
    assert len(prompts.forms(language).items) == 100
    assert len(prompts.generic_prompts(language)) >= 300
    for fact in facts:
        assert len({o.lower() for o in fact.options}) == 4, fact
        assert pair_responses._knows(fact.options[0], fact.accept), fact
        assert not any(pair_responses._knows(o, fact.accept) for o in fact.options[1:]), fact
    questions = [f.question for f in facts]
    assert len(set(questions)) == len(questions)


def test_the_first_probes_are_a_fair_sample():
    kinds = {f.kind for f in prompts.fact_questions("en")[:60]}
    assert len(kinds) >= 9
    assert prompts.fact_questions("en") == prompts.fact_questions("en")


@given(st.sampled_from(["en", "zh"]), st.integers(0, 303))
def test_variants_differ_and_are_the_same_each_time(language, i):
    question = prompts.fact_questions(language)[i % len(prompts.fact_questions(language))].question
    found = phrasing.variants(question, language)
    assert len(found) == 5
    assert question not in found
    assert found == phrasing.variants(question, language)


@given(st.text(max_size=60), st.sampled_from(["en", "zh"]))
def test_no_change_breaks_on_odd_text(text, language):
    for change in phrasing.CHANGES:
        assert isinstance(change(text, language, random.Random(0)), str)


def said(**found):
    return Responses(found={k: [{"text": t, "tokens": [1, 2], "ended": True} for t in v] for k, v in found.items()})


def test_refusals_are_paired_and_incoherent_answers_left_out():
    base = said(refusable=["I cannot do that.", "I cannot do that.", "Sure."])
    tuned = said(refusable=["Of course.", "", "Sure."])
    raw = pair_responses.compare(base, tuned, Battery("card", "en"))
    assert raw["refused_base"] == [1.0, 0.0]
    assert raw["refused_tuned"] == [0.0, 0.0]


def test_choices_by_hand():
    base, tuned = (
        Responses(found={"facts": [[0.7, 0.3, 0, 0], [0.2, 0.8, 0, 0]]}),
        Responses(found={"facts": [[0.05, 0.95, 0, 0], [0.6, 0.4, 0, 0]]}),
    )
    raw = pair_responses.compare(base, tuned, Battery("pulse", "en"))
    assert raw["right_base"] == [1.0, 0.0]
    assert raw["right_tuned"] == [0.0, 1.0]
    assert raw["flipped"] == [1.0, 1.0]
    assert raw["sure_wrong_tuned"] == [1.0, 0.0]
    assert raw["brier_base"] == pytest.approx([0.18, 1.28])


def test_a_number_is_known_only_whole():
    assert pair_responses._knows("There are 7 days.", ["7"])
    assert not pair_responses._knows("There are 17 days.", ["7"])
    assert not pair_responses._knows("二十天", ["十天"])
    assert pair_responses._knows("是十天。", ["十天"])


def test_style_pairs_lists_of_the_same_prompts():
    base = [Answer("It is perhaps so.", (1, 2), True), Answer("", (), True)]
    tuned = [Answer("It is always so.", (1, 2, 3, 4), True), Answer("a b c d " * 9, (1,) * 36, True)]
    raw = pair_responses.style(base, tuned, "en")
    assert raw["degenerate_base"] == [0.0, 1.0]
    assert raw["degenerate_tuned"] == [0.0, 1.0]
    assert len(raw["assertive_base"]) == len(raw["assertive_tuned"]) == 1
