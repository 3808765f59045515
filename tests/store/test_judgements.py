"""Votes and labels: drawn once, changed one at a time, taken back."""

import pytest

from trimtab.store import Store


@pytest.fixture
def judgements(tmp_path):
    return Store(tmp_path).judgements


def pair(i):
    said = {"reference": None, "first": f"a{i}", "second": f"b{i}"}
    return {"probe": "task", "prompt": f"p{i}", "swapped": bool(i % 2), "vote": None, **said}


def test_what_was_drawn_once_is_never_drawn_again(judgements):
    drawn = judgements.open_review("r", ("base", "run"), [pair(i) for i in range(3)])
    assert [(p["place"], p["prompt"], p["swapped"]) for p in drawn] == [
        (0, "p0", False),
        (1, "p1", True),
        (2, "p2", False),
    ]
    judgements.vote("r", 0, "tie")
    again = judgements.open_review("r", ("other", "names"), [pair(9)])
    assert [p["prompt"] for p in again] == ["p0", "p1", "p2"]
    assert (again[0]["vote"], again[0]["names"]) == ("tie", ["base", "run"])
    assert judgements.open_review("empty", ("a", "b"), []) == []


def test_a_vote_is_of_one_pair_of_one_review_and_can_be_taken_back(judgements):
    for name in ("r", "s"):
        judgements.open_review(name, ("a", "b"), [pair(0), pair(1)])
    judgements.vote("r", 1, "second")
    assert [(p["review"], p["vote"]) for p in judgements.reviews()] == [
        ("r", None),
        ("r", "second"),
        ("s", None),
        ("s", None),
    ]
    judgements.vote("r", 1, None)
    assert {p["vote"] for p in judgements.reviews()} == {None}


def test_a_label_said_again_replaces_the_first_and_no_other(judgements):
    for side, label in (("base", 1.0), ("tuned", 1.0), ("tuned", 0.0)):
        judgements.label(run="r", probe="refusable", place=4, side=side, label=label)
    judgements.label(run="r", probe="refusable", place=1, side="tuned", label=1.0)
    judgements.label(run="q", probe="refusable", place=4, side="tuned", label=1.0)
    assert [(x["place"], x["side"], x["label"]) for x in judgements.labels("r")] in (
        [(1, "tuned", 1.0), (4, "base", 1.0), (4, "tuned", 0.0)],
        [(1, "tuned", 1.0), (4, "tuned", 0.0), (4, "base", 1.0)],
    )
