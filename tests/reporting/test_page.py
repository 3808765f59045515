import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tuning.fake_trainer import FakeTrainer
from trimtab.analysis.card import judge
from trimtab.reporting import draw, pictures
from trimtab.reporting.page import html, write_report
from trimtab.reporting.report_data import study_report, thin
from trimtab.spec.budget import preset
from trimtab.spec.progress import silent
from trimtab.spec.study import TuneAsked
from trimtab.store import Store
from trimtab.tuning.coach import Coach
from trimtab.tuning.desk import Desk


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
    row = {
        "title": "Drift, KL",
        "unit": "nats/token",
        "limit": {"min": None, "max": 0.1, "hard": True},
        "hard": True,
        "value": value,
        "low": value,
        "below": value,
        "above": value,
        "high": value,
        "verdict": "UNDECIDED" if value is None else "PASS" if value <= 0.1 else "FAIL",
    }
    svg = draw.limits([row])
    assert row["verdict"] in svg
    assert not re.search(r'="(nan|inf|-\d{4,})', svg)


ASKED = TuneAsked(
    model="m", data="d & <i>", seconds=600.0, command="trimtab tune m d", budget=preset(), versions={"torch": "2"},
    machine={"name": "cpu", "threads": 1, "memory": 2**30, "memory_gib": 1.0, "device": "cpu", "bf16": False},
)  # fmt: skip


@pytest.fixture
def finished(tmp_path):
    store = Store(tmp_path)
    store.open_study(ASKED, "s")
    fake = FakeTrainer(store, "s")
    Coach(Desk(fake, fake, store, "s", silent), None, {}).run()
    store.update_study("s", facts={"data": None})
    measured = {"raw": {"kl_generic": [0.01, 0.02, 0.03] * 8, "kl_first_token": [0.1] * 24}, "level": "pulse"}
    store.save_card(store.study("s").facts.recommendation["run"], measured, judge(measured, preset()))
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
    assert "&lt;function" not in text
    assert "<function" not in text
    for picture in (
        "Drift against learning_rate",
        "Drift on the ruler of quantisation damage",
        "The card against the budget",
    ):
        assert f'aria-label="{picture}' in text
    assert "learning_rate:" in text  # the recipe
    assert (tmp_path / "s" / "report.json").exists()


def test_an_unfinished_study_has_a_report_too(tmp_path):
    store = Store(tmp_path)
    store.open_study(ASKED, "s")
    assert "no recommendation yet" in html(study_report(store, "s"))


ROWS = [{"learning_rate": 1e-4 * 3**i, "drift": 0.01 * 4**i, "kept": i == 1} for i in range(3)]


def test_drift_is_drawn_against_the_setting_that_was_compared():
    picture = pictures.against(ROWS, "learning_rate", 0.1, "nats/token")
    assert picture.count("<circle") == 3
    assert "limit 0.1" in picture
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', picture)]
    assert heights == sorted(heights, reverse=True)  # more drift stands higher
    assert pictures.against(ROWS[:1], "learning_rate", 0.1, "nats/token") == ""
    assert pictures.against([{**r, "learning_rate": "cosine"} for r in ROWS], "learning_rate", None, "nats/token") == ""
