import pytest

from trimtab.analysis.interaction_check import NOT_SEEN, OPEN, SEEN, states


def risk(*shows):
    return {"id": "x", "when": "a × b", "may": "c", "shows": list(shows), "sure": "hypothesis", "source": "s"}


def row(number, verdict=None, value=0.2, base=None, below=None):
    return {"number": number, "value": value, "unit": "nats", "verdict": verdict, "base": base, "below": below}


def state(shows, card=(), losses=(1.0, 1.0), evaluations=(1.0, 0.9), steps=(1.0,) * 50 + (0.5,) * 50, events=()):
    rows = [{"loss": x} for x in evaluations]
    (found,) = states([risk(*shows)], {"rows": list(card)}, rows, [{"loss": x} for x in steps], events, losses)
    return found["state"]


@pytest.mark.parametrize(("verdict", "wanted"), [("FAIL", SEEN), ("PASS", NOT_SEEN), ("UNDECIDED", OPEN)])
def test_a_limited_number_is_judged_by_its_verdict(verdict, wanted):
    assert state([("kl_generic", "high")], [row("kl_generic", verdict)]) == wanted


def test_an_unlimited_number_is_judged_against_the_base():
    assert state([("cut", "high")], [row("cut", base=0.1, below=0.15)]) == SEEN
    assert state([("cut", "high")], [row("cut", base=0.3, below=0.15)]) == NOT_SEEN
    assert state([("cut", "high")], []) == OPEN


@pytest.mark.parametrize(
    ("mark", "odd", "wanted"),
    [
        ("validation rises", {"evaluations": (1.0, 0.8, 0.9)}, SEEN),
        ("validation rises", {}, NOT_SEEN),
        ("validation rises", {"evaluations": (1.0,)}, OPEN),
        ("train loss jumps", {"steps": (1.0,) * 50 + (3.0,) * 8}, SEEN),
        ("train loss jumps", {"steps": (1.0,) * 50 + (3.0,) * 3 + (1.0,) * 9}, NOT_SEEN),
        ("micro-batch halved", {"events": [{"kind": "memory"}]}, SEEN),
        ("micro-batch halved", {}, NOT_SEEN),
        ("seeds differ", {"losses": (1.0, 1.1)}, SEEN),
        ("seeds differ", {"losses": (1.0, 1.01)}, NOT_SEEN),
        ("seeds differ", {"losses": (1.0,)}, OPEN),
        ("barely learns", {"steps": (1.0,) * 100}, SEEN),
        ("barely learns", {}, NOT_SEEN),
    ],
)
def test_marks_of_the_curves(mark, odd, wanted):
    assert state([(f"curve:{mark}", "")], **odd) == wanted


def test_one_mark_is_enough_and_an_open_one_leaves_it_open():
    both = [("kl_generic", "high"), ("curve:seeds differ", "")]
    assert state(both, [row("kl_generic", "FAIL")], losses=(1.0,)) == SEEN
    assert state(both, [row("kl_generic", "PASS")], losses=(1.0,)) == OPEN
    assert state(both, [row("kl_generic", "PASS")]) == NOT_SEEN
