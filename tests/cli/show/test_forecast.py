"""Forecasts in a terminal: the bar is to scale, units are those that are named, and unknown stays unknown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.cli.show import forecast as show

GIB = 2**30
sizes = st.dictionaries(st.sampled_from(list(show.COLOURS)), st.integers(1, 200 * GIB), min_size=1)


@given(sizes, st.one_of(st.none(), st.integers(1, 200 * GIB)))
def test_the_bar_has_sixty_cells_and_marks_the_cards_end_once(parts, capacity):
    text = show._bar(parts, capacity).plain
    bar = text[2:].split(" ")[0]
    used, whole = sum(parts.values()), max(sum(parts.values()), capacity or 0)
    assert bar.count("█") + bar.count("·") == show.WIDTH
    assert bar.count("┃") == (capacity is not None)
    assert abs(bar.count("█") - used / whole * show.WIDTH) <= 0.5
    if capacity and used > capacity:
        assert abs(bar.index("┃") - capacity / whole * show.WIDTH) <= 1
    assert text.endswith("GiB")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "12 ms"), (0.0996, "100 ms"), (0.1, "0.1 s"), (9.96, "10 s"), (99.6, "100 s"), (600, "10 minutes")],
)
def test_short_times(seconds, text):
    assert show._short(seconds) == text


def test_an_unknown_speed_is_said_and_a_known_one_adds_up(capsys):
    base = {"workload": {"max_steps": -1, "num_train_epochs": 2}, "duration": None}
    console = show.Console(highlight=False, soft_wrap=True)
    show._time(console, base)
    assert "Time: unknown" in capsys.readouterr().out
    known = {"step": 3.0, "low": 2.0, "high": 4.0, "steps": 240, "basis": "this machine"}
    show._time(console, {**base, "duration": known})
    assert (
        "3 s a step (2 s to 4 s); 240 steps, 6.0 minutes an epoch, 12.0 minutes in all; from this machine"
        in capsys.readouterr().out
    )
    show._time(console, {"workload": {"max_steps": 240, "num_train_epochs": 2}, "duration": known})
    assert "an epoch" not in capsys.readouterr().out


def solved(value, above=None):
    at = {"device": {"name": "A", "memory": 24 * GIB}, "memory": {"used": 20 * GIB}, "how": "traced"}
    return {"what": "max_length", "value": value, "at": at, "above": above, "tried": 7}


def test_a_solution_names_the_next_that_does_not_fit_and_none_is_an_error(capsys):
    above = {"workload": {"max_length": 2112}, "memory": {"used": 25 * GIB}, "fit": "does not fit"}
    show.solution(solved(2048, above))
    text = capsys.readouterr().out
    assert "Largest cutoff on A (24.0 GiB): 2048, 20.00 GiB" in text
    assert "The next larger, 2112, needs 25.00 GiB: does not fit" in text
    with pytest.raises(SystemExit) as stop:
        show.solution(solved(None))
    assert stop.value.code == 1
    assert "No cutoff fits on A" in capsys.readouterr().out


def test_residuals_have_a_sign_and_what_was_not_measured_has_none(capsys):
    row = {"run": "abc-s1", "device": "cpu", "other_versions": {"torch": "2.7"}}
    row["allocated"] = {"predicted": 1.5 * GIB, "measured": 2.0 * GIB, "error": -0.25}
    row["reserved"] = {"predicted": 2.0 * GIB, "measured": None, "error": None}
    row["seconds"] = {"predicted": 1.0, "measured": 0.8, "error": 0.25}
    show.residuals([row])
    text = capsys.readouterr().out
    line = next(x for x in text.splitlines() if x.startswith("abc-s1 "))
    assert line.split() == ["abc-s1", "cpu", "1.5", "2", "-25.00%", "2", "–", "–", "1", "0.8", "+25.00%"]
    assert "other versions: torch 2.7" in text
    show.residuals([])
    assert "No run here has been measured yet" in capsys.readouterr().out
