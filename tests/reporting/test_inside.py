"""The ladder's page: every remedy on it, both halves of the probes, a picture with the limit as a line."""

import json

from tests.tuning.test_ladder import walk
from trimtab.reporting.inside import write_inside

ASKED = {
    "model": "m",
    "data": "d",
    "command": "trimtab inside r",
    "machine": {"name": "x", "threads": 2},
    "versions": {},
}


def test_a_page_with_every_remedy_and_its_pictures(tmp_path):
    result, _ = walk(tmp_path / "store", held=0.1)
    page = write_inside({**result, "study": "inside-1", "asked": ASKED}, tmp_path / "page").read_text()
    for row in [result["start"], *(r for rung in result["rungs"] for r in rung["rows"])]:
        assert row["what"] in page
    assert result["sentence"] in page
    assert "limit 0.1" in page
    assert json.loads((tmp_path / "page" / "report.json").read_text())["recommended"] == result["recommended"]
    assert (tmp_path / "page" / "pictures" / "kl_generic.png").stat().st_size > 1000
