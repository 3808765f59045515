"""The first picture: what was there before, what is there now, how far it moved, the verdict."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.reporting.glance import glance
from trimtab.reporting.page import with_contents

DRIFT = {"number": "kl_generic", "value": 0.2, "low": 0.1, "high": 0.3, "verdict": "PASS", "limit": {"max": 0.45},
         "floor": None}  # fmt: skip


def result(base=0.1, gain=0.3, low=0.2, high=0.4):
    return {
        "metric": "exact_match", "metric_title": "Exact match", "verdict": "FAIL",
        "seeds": [{"base": {"exact_match": base}, "exact_match": 0.9}],
        "gain": {"value": gain, "low": low, "high": high},
    }  # fmt: skip


def test_it_shows_the_gain_that_the_sentence_names():
    """Not the seed that chose the settings, which is luckier."""
    text = glance(result(), DRIFT, "nats/token")
    assert "40% [30%, 50%]" in text
    assert "10%" in text
    assert "90%" not in text
    assert "FAIL" in text
    assert "drift 0.2" in text
    assert "whisker" in text


def test_one_seed_has_no_whisker_and_no_drift_no_ruler():
    text = glance(result(low=None, high=None), None)
    assert "whisker" not in text
    assert "Drift" not in text
    assert "Drift" not in glance(result(), {**DRIFT, "value": None})


@given(st.floats(0, 1), st.floats(-1, 1), st.floats(0, 1))
def test_nothing_leaves_the_picture(base, gain, half):
    svg = ET.fromstring(glance(result(base, gain, gain - half, gain + half), DRIFT))
    width, height = (float(v) for v in svg.attrib["viewBox"].split()[2:])
    for element in svg.iter():
        for key in ("x", "x1", "x2", "cx"):
            assert 0 <= float(element.attrib.get(key, 0)) <= width
        assert 0 <= float(element.attrib.get("y", 0)) <= height


@pytest.mark.parametrize("page", ["<!-- contents --><h2>One</h2><h2>Two</h2>", "<h2>No list wanted</h2>"])
def test_every_part_is_listed_where_a_page_asks_for_it(page):
    made = with_contents(page)
    assert made.count('<h2 id="part-') == page.count("<h2>")
    assert made.count('href="#part-') == (2 if "contents" in page else 0)
