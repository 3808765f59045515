"""Pictures of studies: what they show, that they are files of their own, and that nothing is drawn of nothing."""

import xml.etree.ElementTree as ET

import pytest

from trimtab.reporting import plots, standalone, study_pictures
from trimtab.spec.words import LANGUAGE

UNIT = LANGUAGE.unit
CELLS = [
    {"cell": "as it is", "changed": {}, "at": {"learning_rate": 1e-3}, "mean": 1.0, "against": None},
    {"cell": "learning_rate 0.0001", "changed": {"learning_rate": 1e-4}, "at": {"learning_rate": 1e-4}, "mean": 1.4,
     "against": {"value": 0.4, "low": 0.3, "high": 0.5, "verdict": "worse"}},
    {"cell": "learning_rate 0.01", "changed": {"learning_rate": 1e-2}, "at": {"learning_rate": 1e-2}, "mean": 0.9,
     "against": {"value": -0.1, "low": -0.2, "high": 0.0, "verdict": "cannot tell yet"}},
]  # fmt: skip
CURVES = [
    {
        "name": "a<b",
        "points": [{"share": s, "mean": 2 - s, "low": 1.9 - s, "high": 2.1 - s, "seeds": 3} for s in (0.5, 1.0)],
    }
]
TRIALS = [
    {
        "params": {"learning_rate": 1e-3, "optim": "sgd"},
        "loss": 1.0,
        "drift": 0.1,
        "inside": True,
        "run": "a",
        "front": True,
        "kept": True,
    },
    {
        "params": {"learning_rate": 1e-2, "optim": "adam"},
        "loss": 1.2,
        "drift": 0.01,
        "inside": False,
        "run": "b",
        "front": True,
        "kept": False,
    },
]
PICTURES = {
    "scan": plots.scan_curve(CELLS, "learning_rate", UNIT),
    "bands": plots.seed_bands(CURVES, UNIT),
    "parallel": plots.parallel(TRIALS),
    "front": plots.front(TRIALS, LANGUAGE.shown(), 0.05),
    "steps": study_pictures.steps(
        [{"setting": "r", "to": 8, "from": 1.0, "loss": 0.9, "step": {"low": -0.2, "high": -0.05}}], UNIT
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_well_formed_and_becomes_a_file(name):
    ET.fromstring(standalone.svg(PICTURES[name]))
    assert "var(" not in standalone.svg(PICTURES[name])
    png = standalone.png(PICTURES[name])
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(png) > 2000


def test_a_scan_stands_at_its_values_with_the_baseline_among_them():
    svg = PICTURES["scan"]
    assert svg.count("<circle") == 3
    assert "baseline" in svg
    x = [float(c.get("cx")) for c in ET.fromstring(svg).iter() if c.tag.endswith("circle")]
    assert x == sorted(x)
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)  # decades are evenly spaced


def test_a_lower_loss_lies_lower_in_the_front_and_the_limit_is_drawn():
    circles = [c for c in ET.fromstring(PICTURES["front"]).iter() if c.tag.endswith("circle")][:2]
    assert float(circles[0].get("cy")) > float(circles[1].get("cy"))
    assert float(circles[0].get("cx")) > float(circles[1].get("cx"))
    assert circles[1].get("class") == "ring"
    assert "limit 0.05" in PICTURES["front"]


def test_nothing_is_drawn_of_nothing():
    assert plots.scan_curve(CELLS[:1], "learning_rate", UNIT) == ""
    assert plots.scan_curve(CELLS, "optim", UNIT) == ""
    assert plots.seed_bands([], UNIT) == plots.parallel([]) == plots.front([], {}) == ""
