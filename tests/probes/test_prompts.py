"""What remedies learn from, what they are tuned on and what the card asks have nothing in common."""

import re

import pytest

from trimtab.probes.prompts import fact_questions, forms, generic_prompts, remedy_prompts, requests


def asked(language):
    return [
        *generic_prompts(language), *requests("alarming", language), *requests("refusable", language),
        *(f.question for f in fact_questions(language)), *(i.asked[-1]["content"] for i in forms(language).items),
    ]  # fmt: skip


def pieces(text, language):
    """Five words, or eight characters, in a row."""
    units, size = (list(re.sub(r"\W", "", text)), 8) if language == "zh" else (re.findall(r"\w+", text.lower()), 5)
    return {tuple(units[i : i + size]) for i in range(len(units) - size + 1)}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_three_are_disjoint(language):
    learn, tune = (remedy_prompts(side, language) for side in ("learn", "tune"))
    assert len(learn) == len(set(learn)) == len(tune) == len(set(tune)) == 61
    card = set().union(*(pieces(t, language) for t in asked(language)))
    for one, others in ((learn, card), (tune, card), (tune, set().union(*(pieces(t, language) for t in learn)))):
        shared = {t: pieces(t, language) & others for t in one}
        assert {t: s for t, s in shared.items() if s} == {}
