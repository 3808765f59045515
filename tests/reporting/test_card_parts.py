"""What page and report share of a card: when it is said to grow surer but not better, and groups that lose no row."""

import pytest

from trimtab.analysis.card import judge
from trimtab.reporting.card_parts import parts
from trimtab.spec.budget import preset
from trimtab.spec.numbers import GROUPS

RAW = {"kl_generic": [0.01, 0.02, 0.03] * 8, "exact_match": [1.0, 0.0] * 10, "base_exact_match": [0.0] * 20}
ROWS = judge({"raw": RAW, "level": "card"}, preset())["rows"]


def looks(*pairs):
    return [{"epochs": i / 2, "sure": sure, "right": right} for i, (sure, right) in enumerate(pairs, 1)]


def test_every_row_is_shown_once_under_its_groups_title():
    grouped = parts(ROWS, [])["grouped"]
    assert [r["number"] for _, rows in grouped for r in rows] == [r["number"] for r in ROWS]
    titles = [title for title, _ in grouped]
    assert len(set(titles)) == len(titles)
    assert set(titles) <= set(GROUPS.values())


def test_the_ruler_is_there_where_drift_was_measured():
    assert "drift 0.02" in parts(ROWS, [])["ruler"]
    assert parts([r for r in ROWS if r["number"] != "kl_generic"], [])["ruler"] == ""


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([(0.5, 0.4), (0.6, 0.7), (0.7, 0.7)], "After 1 epochs it grew surer (60% to 70%) but not better (70% to 70%"),
        ([(0.5, 0.4), (0.6, 0.7), (0.61, 0.7)], "It did not grow surer without growing better."),
        ([(0.5, 0.4), (0.6, 0.7), (0.7, 0.8)], "It did not grow surer without growing better."),
        ([(0.9, 0.8), (0.6, 0.7), (0.7, 0.7)], "It did not grow surer without growing better."),
        ([(0.5, 0.4), (0.9, 0.4)], ""),  # two looks are no history
        ([], ""),
    ],
)
def test_surer_but_not_better(pairs, said):
    assert parts([], looks(*pairs))["sureness"].startswith(said)
    assert bool(parts([], looks(*pairs))["sureness"]) == bool(said)


def test_a_look_that_knew_nothing_of_right_and_wrong_is_left_out():
    known = looks((0.5, 0.4), (0.6, 0.7), (0.7, 0.7))
    unknown = [{"epochs": 9.0, "sure": None, "right": None}]
    assert parts([], known + unknown)["sureness"] == parts([], known)["sureness"]
    assert parts([], known + unknown)["confidence"].count("<circle") == 6
