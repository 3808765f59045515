from hypothesis import given
from hypothesis import strategies as st

from trimtab.spec.budget import Limit
from trimtab.spec.status import Status, Verdict

numbers = st.floats(-5, 5)


@given(numbers, st.floats(0, 3), numbers)
def test_the_gate_reads_the_interval_and_never_the_point(low, width, limit):
    verdict = Limit(max=limit).judge(low, low + width)
    assert verdict == (Verdict.PASS if low + width <= limit else Verdict.FAIL if low > limit else Verdict.UNDECIDED)
    mirrored = Limit(min=-limit).judge(-low - width, -low)
    assert mirrored == verdict


def test_missing_is_not_measured_and_no_number_undecided():
    assert Limit(max=1).judge(None, None) == Verdict.NOT_MEASURED
    assert Limit(max=1).judge(float("nan"), 0.5) == Verdict.UNDECIDED


def test_finished_states():
    assert [s for s in Status if s.is_finished()] == [Status.COMPLETE, Status.STOPPED, Status.FAILED]
