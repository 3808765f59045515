"""The ladder's parts: steps in order, a picture where there is something to compare, and a page of a tune that shows
them."""

from tests.reporting.test_page import ASKED
from tests.tuning.test_confirmation import ANCHORED, tuned
from tests.tuning.test_ladder import walk
from trimtab.reporting.ladder_parts import parts, trade
from trimtab.reporting.page import html
from trimtab.reporting.report_data import study_report


def test_one_judged_run_makes_no_picture(tmp_path):
    result, _ = walk(tmp_path, judged=0.1)
    assert trade([result["start"]], "kl_generic", "Exact match", None) == ""


def page_of(store):
    return html(study_report(store, "s") | {"asked": ASKED.model_dump(mode="json")})


def test_its_steps_are_those_that_were_walked(tmp_path):
    result, _ = walk(tmp_path, held=0.1)
    ladder = parts(result)
    assert [title for title, _, _ in ladder["steps"]] == ["The run", *(r["title"] for r in result["rungs"])]
    assert ladder["titles"] == {"kl_generic": "Exact match against drift"}


def test_the_page_of_a_tune_shows_what_brought_it_inside(tmp_path, monkeypatch):
    coach, store, _, _ = tuned(tmp_path, monkeypatch, **ANCHORED)
    result = coach.run()
    store.update_study("s", facts={"data": None})
    page = page_of(store)
    assert "What brings it inside the budget" in page
    for row in (r for rung in result["inside"]["rungs"] for r in rung["rows"]):
        assert row["what"] in page
    assert "Remedy: held to the base" in page


def test_the_page_of_a_tune_says_what_looking_would_cost(tmp_path, monkeypatch):
    coach, store, _, _ = tuned(tmp_path, monkeypatch, seconds=100, **ANCHORED)
    coach.run()
    store.update_study("s", facts={"data": None})
    assert "did not fit into the time; it would take about" in page_of(store)
