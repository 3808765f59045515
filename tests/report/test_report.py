import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tune.fake_lab import FakeLab
from trimtab.report import draw
from trimtab.report.gather import study_report, thin
from trimtab.report.page import html, write_report
from trimtab.spec.budget import preset
from trimtab.store import Store
from trimtab.tune.coach import Coach


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.floats(-1e3, 1e3)), max_size=5000, unique_by=lambda p: p[0]),
    st.integers(10, 200),
)
def test_thinning_keeps_the_extremes(points, most):
    points = sorted(points)
    kept = thin(points, most)
    assert len(kept) <= max(most, len(points) if len(points) <= most else most)
    assert set(kept) <= set(points)
    if points:
        assert max(y for _, y in kept) == max(y for _, y in points)
        assert min(y for _, y in kept) == min(y for _, y in points)


def test_curves_are_drawn_and_escaped():
    series = [
        {"name": "<b>", "kept": True, "v": [(0.5, 2.0), (1.0, 1.0)]},
        {"name": "0.1", "kept": False, "v": [(0.5, 3.0)]},
    ]
    svg = draw.curves(series, "v", "loss")
    assert svg.count("<polyline") == 2
    assert "&lt;b&gt;" in svg
    assert "<b>" not in svg
    assert draw.curves([], "v", "loss") == ""


@pytest.mark.parametrize("value", [None, 0.0, 0.05, 5.0])
def test_limits_are_drawn_even_when_unmeasured(value):
    row = {"title": "Drift, KL", "unit": "nats/token", "limit": {"min": None, "max": 0.1, "hard": True}, "hard": True, "value": value,
           "low": value, "below": value, "above": value, "high": value, "verdict": "UNDECIDED" if value is None else "PASS" if value <= 0.1 else "FAIL"}  # fmt: skip
    svg = draw.limits([row])
    assert row["verdict"] in svg
    assert not re.search(r'="(nan|inf|-\d{4,})', svg)


@pytest.fixture
def finished(tmp_path):
    store = Store(tmp_path)
    asked = {"model": "m", "data": "d & <i>", "own": {}, "seconds": 600.0, "command": "trimtab tune m d", "budget": preset().model_dump(),
             "machine": {"name": "cpu", "threads": 1, "memory_gb": 1, "device": "cpu", "bf16": False}, "versions": {"torch": "2"}}  # fmt: skip
    store.open_study("s", asked)
    Coach(FakeLab(store, "s"), store, "s", None, {}, lambda _: None).run()
    store.update_study("s", facts={"data": None})
    return store


def test_one_file_with_everything_and_no_network(finished, tmp_path):
    page = write_report(finished, "s", tmp_path / "s")
    text = page.read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="?https?:', text)
    assert "<script" not in text
    for heading in (
        "What was asked",
        "The plan, with reasons",
        "Learning rate",
        "Effective batch",
        "Epochs",
        "The result, over seeds",
        "To check it yourself",
    ):
        assert heading in text
    assert "d &amp; &lt;i&gt;" in text
    assert text.count("<svg") >= 4
    assert "learning_rate:" in text  # the recipe
    assert (tmp_path / "s" / "report.json").exists()


def test_an_unfinished_study_has_a_report_too(tmp_path):
    store = Store(tmp_path)
    store.open_study("s", {"model": "m", "data": "d", "own": {}, "seconds": None, "command": "trimtab tune m d", "budget": preset().model_dump(),
                           "machine": {"name": "c", "threads": 1, "memory_gb": 1, "device": "cpu", "bf16": False}, "versions": {}})  # fmt: skip
    assert "no recommendation yet" in html(study_report(store, "s"))
