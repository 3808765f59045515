import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.errors import SpecError
from trimtab.spec.durations import in_words, parse, typed


@given(st.integers(1, 10**6))
def test_what_is_typed_is_read_again(seconds):
    assert parse(typed(seconds)) == pytest.approx(seconds, rel=1e-4)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2", 120)])
def test_units(text, seconds):
    assert parse(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "soon", "-1m", "0", "inf", "nan", "1d"])
def test_anything_else_is_said(text):
    with pytest.raises(SpecError, match=r"such as 90s, 30m or 1\.5h"):
        parse(text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.123, "0.12 seconds"),
        (59.6, "60 seconds"),
        (119, "119 seconds"),
        (150, "2 minutes"),
        (3 * 3600, "3 hours"),
        (3 * 86400, "3 days"),
    ],
)
def test_words(seconds, words):
    assert in_words(seconds) == words
