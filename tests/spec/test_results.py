"""The shapes that people's programs rely on: what is given has exactly the keys that are written down."""

from dataclasses import fields
from types import SimpleNamespace
from typing import get_type_hints

from trimtab.analysis.compare import compare_runs
from trimtab.analysis.stats import Interval
from trimtab.spec.recipe import Recipe
from trimtab.spec.results import Comparison, Span


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
