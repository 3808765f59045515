"""Plans and data reports in a terminal: every setting with its reason at any width, amounts that people can check."""

import pytest

from tests.planning.test_plan import FACTS
from trimtab.cli.show import plan as show
from trimtab.planning.plan import make_plan

GIB = 2**30


@pytest.mark.parametrize("width", ["70", "129", "130"])
def test_every_setting_is_there_with_its_reason(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    rows = make_plan(FACTS).as_rows()
    console = show.Console(highlight=False)
    show._settings(console, rows)
    text = capsys.readouterr().out
    shown = "".join(text.split())
    for row in rows:
        assert row["setting"] in shown
        assert show._value(row["value"]) in shown
    if int(width) < 130:
        assert all("".join(r["reason"].split()) in shown for r in rows)
    else:  # beside the values a reason is broken up by its column
        assert all(set(r["reason"].split()) <= set(text.split()) for r in rows)


@pytest.mark.parametrize(("value", "text"), [(2e-4, "0.0002"), (3.0, "3"), (None, "none"), (True, "True"), (16, "16")])
def test_values_as_people_type_them(value, text):
    assert show._value(value) == text


def test_one_setting_with_every_input(capsys):
    plan = make_plan(FACTS)
    row = next(r for r in plan.as_rows() if r["setting"] == "learning_rate")
    show.explained({"settings": plan.as_rows(), "precedents": []}, "learning_rate")
    squeezed = "".join(capsys.readouterr().out.split())  # lines are broken anywhere
    assert f"learning_rate={row['value']}" in squeezed
    assert len(row["inputs"]) > 2
    for key, value in row["inputs"]:
        assert "".join(f"{key}:{value}".split()) in squeezed


def test_what_an_experiment_costs_and_that_time_may_be_unknown():
    known = {"steps": 1200, "tokens": 2_500_000, "seconds": (600.0, 300.0, 1200.0)}
    assert show._cost(known, "sft") == "1,200 steps, 2.5 M tokens, about 10 minutes (5 minutes to 20 minutes)"
    assert "1000 images (time unknown" in show._cost(
        {**known, "tokens": 999.9, "seconds": None}, "image-classification"
    )


@pytest.mark.parametrize(
    ("cutoff", "memory", "cells"),
    [
        (512, int(20 * GIB), ["20.0 GiB", "yes"]),
        (512, int(24 / 1.12 * GIB), ["21.4 GiB", "yes"]),
        (512, int(21.6 * GIB), ["21.6 GiB", "no"]),  # only without the margin of 12 %
        (4096, int(GIB), ["the model ends at 2,048", "no"]),
        (512, None, ["unknown", "unknown"]),
    ],
)
def test_a_cutoff_fits_with_the_margin_and_inside_the_model(cutoff, memory, cells):
    survey = {"device_memory": 24 * GIB, "positions": 2048}
    assert show._cost_cells({"max_length": cutoff, "memory": memory}, survey) == cells


def test_a_histogram_leaves_empty_ends_out_and_says_gaps_once(capsys):
    h = {"edges": [0, 8, 16, 32, 64, 128, 256], "prompt": [0, 10, 0, 0, 1, 0], "answer": [0, 0, 0, 0, 1000, 0]}
    show._histogram(show.Console(highlight=False), h)
    lines = capsys.readouterr().out.splitlines()
    assert [x.split()[0] for x in lines] == ["tokens", "9–", "…", "65–"]
    assert lines[3].count("█") == 20
    assert lines[1].count("▏") == 1  # too few for a block, but there
    show._histogram(show.Console(), {"edges": [0, 8], "prompt": [0], "answer": [0]})
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("tokens", "text"), [(400, "400"), (1000, "1 thousand"), (999_499, "999 thousand"), (999_600, "1.0 M")]
)
def test_amounts_in_words(tokens, text):
    assert show._amount(tokens) == text
