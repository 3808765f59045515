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


@pytest.mark.parametrize("width", ["60", "104", "105", "149", "150"])
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
    assert ("tuned" in text.splitlines()[0]) == (int(width) >= 105)
    assert ("seeds ±" in text.splitlines()[0]) == (int(width) >= 150)
    assert "Level card; measuring took 90 seconds" in text


def test_a_soft_limit_is_called_soft_and_its_bound_stands_behind(capsys):
    show.card(judged(Budget(name="mine", limits={"kl_generic": Limit(max=1e-4, hard=False)})))
    text = capsys.readouterr().out
    (line,) = [x for x in text.splitlines() if "✗ FAIL" in x and "against" not in x]
    assert "≤ 0.0001" in line
    assert "✗ FAIL soft, at least 0.0" in line
    assert "“mine”: SOFT FAIL" in text


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
