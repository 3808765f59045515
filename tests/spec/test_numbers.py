import pytest

from tests.spec.numbers_tables import DOCS, MARKS, TABLES, replaced
from trimtab.analysis.number_intervals import INTERVALS, shown, unit_of
from trimtab.spec.numbers import GROUPS, LIMITABLE, NUMBERS, can_be_limited, number_of


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_of_the_docs_are_printed_from_the_rows(name):
    """`python -m tests.spec.numbers_tables` writes them again."""
    text = (DOCS / name).read_text(encoding="utf-8")
    assert all(text.count(mark) == 1 for mark in MARKS)
    assert text == replaced(text, TABLES[name]())


def test_every_number_has_a_row_a_group_and_an_interval():
    assert list(NUMBERS) == list(INTERVALS)
    for n in NUMBERS.values():
        assert n.group in GROUPS
        assert all((n.title, n.unit, n.items))
        assert n.limits is None or n.bounds is not None
        for value in n.limits or ():
            assert n.bounds[0] <= value <= n.bounds[1]


def test_a_tighter_preset_is_never_looser():
    for n in NUMBERS.values():
        if n.limits:
            rising = n.side == "max"
            assert list(n.limits) == sorted(n.limits, reverse=not rising), n.key


def test_labels_and_own_probes_have_numbers_too():
    assert number_of("class-good").title == "… recall of “good”"
    assert can_be_limited("own-mine")
    assert not can_be_limited("own-")
    assert not can_be_limited("class-good")
    assert "ece" not in LIMITABLE
    assert shown("own-mine").base({"own-mine_base": [1.0, 0.0]}) == 0.5
    assert unit_of("validation loss", "rows") == "rows"
    assert unit_of("right", "rows") == "share"
    assert unit_of("nobody knows", "rows") == ""
