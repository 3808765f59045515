"""Cards in a terminal: every verdict is printed, at any width, and what is missing says why."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trimtab.analysis.card import judge
from trimtab.cli.show import card as show
from trimtab.spec.budget import Budget, Limit, preset

RAW = {"kl_generic": [0.01, 0.02, 0.03] * 8, "same_choice": [0.9] * 24}


def judged(budget, **more):
    return {**judge({"raw": RAW, "level": "card", "seconds": {"drift": 90.0}, **more}, budget), "run": "r-s1"}


@pytest.mark.parametrize("width", ["60", "80", "104", "105", "144", "145", "209", "210"])
def test_every_number_and_verdict_is_there_at_any_width(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    made = judged(preset(), missing={"refusal": "nothing was asked", "intruders": "no matrices"})
    show.card(made)
    text = capsys.readouterr().out
    for verdict, sign in (("PASS", "✓"), ("FAIL", "✗"), ("UNDECIDED", "?"), ("NOT MEASURED", "–")):
        lines = text[: text.index("against budget")]
        assert lines.count(f"{sign} {verdict}") == sum(r["verdict"] == verdict for r in made["rows"])
    squeezed = "".join(text.split())
    assert "nothingwasasked" in squeezed
    assert "nomatrices" in squeezed  # it has no limit, so nothing is to be decided
    assert ("tuned" in text.splitlines()[0]) == (int(width) >= 145)
    assert ("seeds ±" in text.splitlines()[0]) == (int(width) >= 210)
    for row in made["rows"]:
        assert row["title"].removeprefix("… ")[:16] in text  # no number without its name
    assert "Level card; measuring took 90 seconds" in text


def test_a_soft_limit_is_called_soft_and_its_bound_stands_behind(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    show.card(judged(Budget(name="mine", limits={"kl_generic": Limit(max=1e-4, hard=False)})))
    text = capsys.readouterr().out
    (line,) = [x for x in text.splitlines() if "✗ FAIL" in x and "against" not in x]
    assert "≤ 0.0001" in line
    assert "✗ FAIL soft, at least 0.0" in line
    assert "“mine”: SOFT FAIL" in text


def test_a_card_that_stopped_early_says_how_much_it_asked(capsys):
    looks = {"generic": {"asked": [64], "of": 302}, "facts": {"asked": [64, 128], "of": 300}}
    show.card(judged(preset(), looks=looks))
    assert "Asked 192 of 602 questions" in capsys.readouterr().out
    show.card(judged(preset(), looks={"facts": {"asked": [300], "of": 300}}))
    assert "questions: each set" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (None, ""),
        ({"min": None, "max": 2.0}, "≤ 2"),
        ({"min": 0.5, "max": 2}, "≥ 0.5 ≤ 2"),
        ({"min": 0.0, "max": None}, "≥ 0"),
    ],
)
def test_a_limit_in_signs(limit, text):
    assert show.limit_text(limit) == text


@given(st.lists(st.integers(), min_size=1, max_size=60), st.integers(1, 12))
def test_a_series_in_parts_loses_nothing(series, n):
    parts = show._parts(series, n)
    assert [v for part in parts for v in part] == series
    assert len(parts) <= n
    assert all(parts)


@given(st.text("ab \n\t\x1b[", max_size=300))
@example("a" * 90)
@example("a" * 91)
def test_an_example_is_one_line_that_fits(text):
    line = show._line(text)
    assert len(line) <= 90
    assert not {"\n", "\t", "\x1b"} & set(line)
