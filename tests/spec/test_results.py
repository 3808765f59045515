"""The written keys of results are the keys that people get."""

import trimtab
from trimtab.analysis.card import judge
from trimtab.spec.budget import preset
from trimtab.spec.results import CardRow, ForecastResult, PlanResult, PlanSetting


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
