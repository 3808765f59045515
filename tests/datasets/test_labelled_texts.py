"""Bundled texts with labels: the same rows everywhere, no text on two sides."""

from collections import Counter

import pytest

from trimtab.datasets.home_commands import LABELLED
from trimtab.datasets.labelled_texts import NAMES, SIZES
from trimtab.datasets.prepare import load
from trimtab.datasets.read import read


@pytest.mark.parametrize("name", NAMES)
def test_sizes_and_sides(name):
    rows = read(f"bundled:{name}", lambda _text: None).rows
    assert {k: len(v) for k, v in rows.items()} == SIZES
    texts = Counter(r["text"].lower() for part in rows.values() for r in part)
    assert max(texts.values()) == 1
    assert rows == read(f"bundled:{name}", lambda _text: None).rows


def test_questions_have_six_labels():
    data = load("bundled:questions", say=lambda _text: None)
    counts = Counter(e.answer for e in data.examples["train"])
    assert set(counts) == {"abbreviation", "description", "entity", "person", "place", "number"}
    assert data.examples["train"][0].prompt[-1]["content"].endswith("?")


@pytest.mark.parametrize(("name", "kinds"), [("home-intents-zh", 34), ("home-intents", 26)])
def test_intents_are_told_apart_by_templates_that_training_has_not(name, kinds):
    rows = read(f"bundled:{name}", lambda _text: None).rows
    assert {k: len(v) for k, v in rows.items()} == LABELLED
    labels = {split: {r["label"] for r in part} for split, part in rows.items()}
    assert len(labels["train"]) == kinds
    assert labels["test"] | labels["validation"] <= labels["train"]
    assert len({r["text"].lower() for part in rows.values() for r in part}) == sum(LABELLED.values())
