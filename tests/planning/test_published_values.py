"""What people published, as an input of a setting: what is looked up, and quartiles that one can compute by hand."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planning.test_plan import FACTS
from trimtab.planning.precedents import Precedent, rows
from trimtab.planning.published_values import practice, precedents_of, query_of


def near(values, weights=None):
    """Published recipes that name these ranks; None: one that names none."""
    row = dataclasses.replace(rows()[0], values={})
    named = [dataclasses.replace(row, values={} if v is None else {"r": float(v)}) for v in values]
    return [Precedent(r, 0.0, w) for r, w in zip(named, weights or [1.0] * len(named), strict=True)]


def test_quartiles_of_five_and_how_many_there_are():
    assert practice(near([5, 1, None, 4, 2, 3]), "r") == (("published", "2/3/4 (quartiles of 5 recipes)"),)


def test_a_recipe_counts_by_its_weight():
    """Eight copies of a default in one repository weigh an eighth each: together as much as one other recipe."""
    found = practice(near([8] * 8 + [16, 32], [1 / 8] * 8 + [1, 1]), "r")
    assert found[0][1].split("/")[1] == "16"


def test_what_nobody_names_is_no_input():
    assert practice(near([None, None]), "r") == ()
    assert practice((), "r") == ()


@given(st.lists(st.tuples(st.integers(1, 1024), st.floats(0.01, 1)), min_size=1, max_size=30))
def test_quartiles_rise_and_lie_among_the_values(pairs):
    ((_, text),) = practice(near(*map(list, zip(*pairs, strict=True))), "r")
    low, middle, high = map(float, text.split(" ")[0].split("/"))
    assert min(v for v, _ in pairs) * 0.999 <= low <= middle <= high <= max(v for v, _ in pairs) * 1.001


@pytest.mark.parametrize(
    ("chosen", "method", "batch", "optimizer"),
    [
        ({}, "lora", 16, "adam"),
        ({"method": "auto", "optim": "adamw_torch"}, "lora", 16, "adam"),
        ({"method": "full", "optim": "sgd"}, "full", 64, "sgd"),
        ({"method": "qlora", "effective_batch": 5}, "qlora", 5, "adam"),
    ],
)
def test_what_is_looked_up_follows_what_was_chosen(chosen, method, batch, optimizer):
    query = query_of(FACTS, chosen)
    assert (query.method, query.batch, query.optimizer, query.billions) == (method, batch, optimizer, 7)
    assert all(p.row.optimizer == optimizer for p in precedents_of(FACTS, chosen))


def test_a_name_of_the_catalogue_is_looked_up_as_typed_any_other_by_what_the_weights_say():
    typed = dataclasses.replace(FACTS, model="Qwen/Qwen2.5-7B-Instruct", model_name="Qwen/Qwen2.5-7B")
    assert query_of(typed, {}).model == "Qwen/Qwen2.5-7B-Instruct"
    assert query_of(dataclasses.replace(typed, model="./folder"), {}).model == "Qwen/Qwen2.5-7B"
