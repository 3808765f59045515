"""The picture of rates by layer."""

import re

from trimtab.reporting.layers import layers


def row(name, rate, start=0.0):
    return {"name": name, "rate": rate, "start": start, "parameters": 1}


def test_a_slower_layer_has_a_shorter_bar_and_a_frozen_one_none():
    picture = layers([row("head", 1e-2), row("layer 1", 1e-3, 0.5), row("<before>", 0.0)])
    widths = [float(w) for w in re.findall(r'<rect[^>]* width="([\d.]+)"', picture)]
    assert widths[0] > widths[1] > widths[2] == 0
    assert "from 50% of the run on" in picture
    assert "not trained" in picture
    assert "&lt;before&gt;" in picture


def test_without_rates_there_is_no_picture():
    assert layers([]) == ""
