"""The written keys of results are the keys that people get."""

from dataclasses import fields
from types import SimpleNamespace
from typing import get_type_hints

import trimtab
from trimtab.analysis.card import judge
from trimtab.analysis.compare import compare_runs
from trimtab.analysis.stats import Interval
from trimtab.spec.budget import preset
from trimtab.spec.recipe import Recipe
from trimtab.spec.results import CardRow, Comparison, ForecastResult, PlanResult, PlanSetting, Span


def test_a_plan_and_its_forecast():
    made = trimtab.plan("Qwen/Qwen2.5-7B", "bundled:home-commands", gpu="24GB", instant=True)
    assert set(made) == set(PlanResult.__annotations__)
    assert all(set(row) == set(PlanSetting.__annotations__) for row in made["settings"])
    assert made["forecast"]
    assert set(made["forecast"]) == set(ForecastResult.__annotations__)


def test_a_card_s_rows():
    rows = judge({"raw": {"kl_generic": [0.1] * 24}, "level": "card"}, preset("standard"))["rows"]
    assert rows
    assert all(set(row) == set(CardRow.__annotations__) for row in rows)


def test_a_span_is_an_interval():
    assert list(Span.__annotations__) == [f.name for f in fields(Interval)]


def test_a_comparison_has_the_keys_that_are_promised():
    base = Recipe(model="m", data="d")
    runs = [SimpleNamespace(id=r.run_id, recipe=r, result={}) for r in (base, base.but(r=8))]
    looks = [[{"loss": loss, "items": [loss] * 9, "pulse": {}}] for loss in (2.0, 1.5)]
    found = compare_runs(*runs, *looks)
    assert set(found) == set(get_type_hints(Comparison))
    assert set(found["difference"]) == set(get_type_hints(Span))
    assert found["difference"]["value"] == -0.5  # second − first, as the shape's own words say
