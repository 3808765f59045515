from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from trimtab.tuning.neighbours import NEAR, scan


def test_a_scan_is_three_rates_a_factor_of_three_apart():
    assert scan(3e-4) == [1e-4, 3e-4, 9e-4]


def test_what_disagreeing_sources_say_is_scanned_too_unless_it_is_near():
    assert scan(3e-4, (1.1e-4, 2.5e-3)) == [1e-4, 3e-4, 9e-4, 2.5e-3]


@given(st.floats(1e-6, 1e-2), st.lists(st.floats(1e-7, 1e-1), max_size=3))
def test_rates_rise_and_are_never_as_good_as_one(start, others):
    found = scan(start, others)
    assert found == sorted(found)
    assert all(b / a > NEAR for a, b in pairwise(found))
