"""Voting by single keys: blind sides, keys that mean nothing, going back, and the end of the input."""

import io
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.cli import vote


@pytest.fixture
def voted(monkeypatch, capsys):
    """Types lines at pairs; gives the votes that were kept, in order, and what was on the screen."""

    def of(pairs, typed, verb=vote.ask_votes, todo=()):
        kept = []
        api = SimpleNamespace(
            review=lambda *_, **__: {"review": "r", "pairs": pairs},
            vote=lambda _review, place, choice, _out: kept.append((place, choice)),
            to_label=lambda *_, **__: list(todo),
            label=lambda answer, value, _out: kept.append((answer["place"], value)),
        )
        monkeypatch.setattr(vote, "review", api)
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        verb("run", None, 5, "out")
        return kept, capsys.readouterr().out

    return of


def pairs(*swapped):
    rows = enumerate(swapped)
    return [
        {"place": i, "prompt": "p", "first": f"FIRST{i}", "second": f"SECOND{i}", "swapped": s, "vote": None}
        for i, s in rows
    ]


def test_the_key_names_a_place_on_the_screen_not_a_model(voted):
    kept, text = voted(pairs(False, True, False, True), "1\n1\n2\n2\n")
    assert kept == [(0, "first"), (1, "second"), (2, "second"), (3, "first")]
    assert text.index("FIRST0") < text.index("SECOND0")
    assert text.index("SECOND1") < text.index("FIRST1")


def test_other_keys_mean_nothing_and_an_empty_line_is_a_tie(voted):
    assert voted(pairs(False, False), "x\n7\nB\n0\n\n")[0] == [(0, "tie"), (1, "tie")]


@pytest.mark.parametrize("back", "bB")
def test_back_asks_the_last_pair_again_and_the_newest_vote_counts(voted, back):
    kept, text = voted(pairs(False, False), f"1\n{back}\n2\n0\n")
    assert kept == [(0, "first"), (0, "second"), (1, "tie")]
    assert text.count("FIRST0") == 2


@pytest.mark.parametrize("typed", ["", "q\n1\n", "Q\n", "\x03\n1\n", "\x04\n"])
def test_q_the_end_of_the_input_and_ctrl_c_stop(voted, typed):
    assert voted(pairs(False, True), typed)[0] == []


def test_what_is_voted_already_is_not_asked_again(voted):
    rows = pairs(False, False)
    rows[0]["vote"] = "tie"
    assert voted(rows, "1\n1\n")[0] == [(1, "first")]


def test_answers_are_labelled_without_saying_whose_they_are(voted):
    todo = [{"place": i, "side": "tuned", "prompt": "p", "answer": f"A{i}\x1b[2J"} for i in range(3)]
    kept, text = voted([], "y\nn\nq\n", vote.ask_labels, todo)
    assert kept == [(0, 1.0), (1, 0.0)]
    assert "tuned" not in text
    assert "\x1b[2J" not in text


@given(st.text("ab \n\x1b\x9b\r[2J\u202e"))
def test_any_answer_can_be_shown(text):
    shown = vote._plain(text).plain
    assert shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(("allowed", "typed", "key"), [("012 bq", "12", "1"), ("ynq", "yn", "y"), ("ynq", "", "q")])
def test_two_quick_keys_are_one_and_then_the_other(monkeypatch, allowed, typed, key):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(vote.click, "getchar", lambda: typed)
    assert vote._key(allowed) == key
