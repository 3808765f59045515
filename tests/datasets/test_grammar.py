import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.datasets.grammar import Sampler, Unfillable, split_top


def sample(template, lists=None, rules=None, seed=0):
    return Sampler(lists or {}, rules or {}, random.Random(seed)).sentence(template)


@given(st.integers(0, 200))
def test_every_construct(seed):
    text, slots = sample(
        "<turn> on [the] {area} (lamp|light)", {"area": [("kitchen", "k")]}, {"turn": "(turn|switch)"}, seed
    )
    assert slots == {"area": "k"}
    assert text.split()[0] in ("turn", "switch")
    assert text.endswith(("kitchen lamp", "kitchen light"))


@given(st.integers(0, 50))
def test_permutation_and_renamed_slots(seed):
    text, slots = sample("(to {n:level};in the hall)", {"n": [("5", 5)]}, seed=seed)
    assert sorted(text.split()) == sorted(["to", "5", "in", "the", "hall"])
    assert slots == {"level": 5}


def test_unknown_names_are_said():
    with pytest.raises(Unfillable):
        sample("{nothing}")
    with pytest.raises(Unfillable):
        sample("<nothing>")


def test_split_only_outside_brackets():
    assert split_top("a|(b|c)|[d|e]", "|") == ["a", "(b|c)", "[d|e]"]
