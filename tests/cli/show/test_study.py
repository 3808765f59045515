"""Studies in a terminal: intervals as they are, the best first, and text of models and data made safe."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trimtab.cli.show import study as show

CELL = {"cell": "as it is", "mean": 1.0, "losses": [1.0, 1.1], "drift": 0.05, "status": ["COMPLETE"], "breach": [],
        "against": None, "interval": {"low": 0.9, "high": 1.1, "over": "seeds"}}  # fmt: skip
WORSE = {**CELL, "cell": "r 8 \x1b[2J", "mean": 1.5, "losses": [1.5, None],
         "against": {"value": 0.5, "low": 0.3, "high": 0.7, "verdict": "worse", "need": ""}}  # fmt: skip
FAILED = {**CELL, "cell": "r 99", "mean": None, "losses": [None, None], "drift": None, "interval": None,
          "status": ["FAILED", "STOPPED", "FAILED"], "breach": ["outside"]}  # fmt: skip
STUDY = {"kind": "scan", "study": "scan-1", "question": "which r?", "cells": [CELL, WORSE, FAILED], "held": [],
         "words": {"unit": "nats/token", "drift": None}, "refused": [{"cell": "r 0", "why": "[at least 1]"}],
         "sentence": "so"}  # fmt: skip


def test_a_studys_cells_with_their_intervals_and_what_was_not_run(capsys):
    show.result(STUDY)
    text = capsys.readouterr().out
    lines = {x.split("  ")[0].strip(): x for x in text.splitlines()}
    assert "1.000 [0.900, 1.100]" in lines["as it is"]
    worse = next(x for x in text.splitlines() if x.startswith("r 8"))
    assert "+0.500 [+0.300, +0.700]" in worse
    assert "1.500 –" in worse
    assert "FAILED, STOPPED " in lines["r 99"]  # each once
    assert "outside" in lines["r 99"]
    assert "! not run: r 0 [at least 1]" in text  # brackets are no markup
    assert "\x1b[2J" not in text
    assert "several comparisons" not in text  # one alone needs no correction
    show.result({**STUDY, "cells": [CELL, WORSE, WORSE]})
    assert "Verdicts allow for several comparisons at once (Holm)" in capsys.readouterr().out


def test_on_a_narrow_terminal_the_seeds_are_left_out(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    show.result(STUDY)
    text = capsys.readouterr().out
    assert "by seed" not in text
    assert "verdict" in text


def trial(run, loss, drift=0.1, inside=True):
    return {
        "params": {"r": 8, "learning_rate": 1e-3},
        "run": run,
        "loss": loss,
        "drift": drift,
        "inside": inside,
        "status": "COMPLETE",
    }


def test_trials_stand_best_first_and_the_best_inside_is_marked(capsys):
    trials = [
        trial("a", 3.0),
        trial("b", None, None),
        trial("c", 1.0, inside=False),
        trial("d", 2.0),
        *(trial(f"x{i}", 9.0) for i in range(20)),
    ]
    found = {"kind": "search", "study": "s", "question": "q", "sampler": "tpe", "trials": trials, "best": {"run": "d"},
             "front": ["c", "d"], "sentence": "so"}  # fmt: skip
    show.result(found)
    lines = capsys.readouterr().out.splitlines()
    rows = [x.split() for x in lines if " 0.001 " in x]
    assert [r[0] for r in rows[:2]] == ["◆", "✓"]  # the best loss is outside, so it is only on the front
    assert rows[0][-3:] == ["outside", "the", "budget"]
    assert len(rows) == 12
    assert "… and 12 more" in "\n".join(lines)


def test_a_path_goes_from_the_first_run_with_a_sign_at_each_step(capsys):
    span = {"value": -0.5, "low": -0.6, "high": -0.4}
    steps = [{"setting": "r", "to": 8, "from": 2.0, "loss": 1.5, "run": "b", "step": span},
             {"setting": "data", "to": "x\x1b", "from": 1.5, "loss": 1.75, "run": "c", "step": None}]  # fmt: skip
    show.result(
        {"kind": "path", "study": "p", "question": "q", "steps": steps, "runs": ["a", "b", "c"], "sentence": "so"}
    )
    lines = capsys.readouterr().out.splitlines()
    first, second, third = (next(x for x in lines if x.rstrip().endswith(run)) for run in "abc")
    assert "2.000" in first
    assert "-0.500 [-0.600, -0.400]" in second
    assert "+0.250" in third
    assert "\\x1b" in third


def test_a_list_of_studies_counts_what_is_finished(capsys):
    show.listed([{"study": "s", "status": "RUNNING", "finished": 2, "runs": 5, "sentence": "a\x1bb"}])
    text = capsys.readouterr().out
    assert "2/5" in text
    assert "a\\x1bb" in text


@given(st.floats(0, 1))
@example(0.3)
@example(0.299)
def test_a_share_is_drawn_as_far_as_it_is_said(share):
    text = show._heat(share)
    assert text.count("█") == round(share * 5)
    assert f"{share:.0%}" in text
    assert ("bold" in text) == (share >= 0.3)


@pytest.mark.parametrize(("strong", "shown"), [(0.05, True), (0.049, False)])
def test_a_coupling_that_explains_next_to_nothing_has_no_column(capsys, strong, shown):
    shares = [{"names": ["r"], "value": 0.6, "low": 0.5}, {"names": ["r", "rate"], "value": strong, "low": 0.0},
              {"names": ["seed"], "value": 0.01, "low": 0.0}]  # fmt: skip
    row = {
        "number": "loss",
        "shares": shares,
        "sentence": "r moves it",
        "effects": [1],
        "why": "",
        "aliased": ["a is b"],
    }
    show.attributed({"study": "s", "rows": [row], "next": [{"sentence": "try"}]})
    text = capsys.readouterr().out
    assert ("r × rate" in text) == shown
    assert "60% ███" in text
    assert "seed" in text
    assert "! a is b" in text
    assert "Benjamini" not in text  # one number needs no correction
