"""store, work and fetch as typed: what is printed is what the api gave."""

import json

import pytest
from typer.testing import CliRunner

from trimtab.cli.main import app

READY = {"bundled:tiny": "/somewhere/tiny"}


@pytest.fixture
def fetched(monkeypatch):
    """A fetch that says what it does, without a network."""

    def fetch(say):
        say("fetching")
        return READY

    monkeypatch.setattr("trimtab.api.folder.fetch", fetch)


def trimtab(*args):
    result = CliRunner().invoke(app, [str(a) for a in args])
    return result.exit_code, result.output


def test_a_folder_says_where_its_store_is(tmp_path):
    assert trimtab("store", "--out", tmp_path / "x") == (
        0,
        f"{tmp_path / 'x'}: sqlite:///{tmp_path / 'x' / 'trimtab.db'}\n",
    )
    url = f"sqlite:///{tmp_path / 'there.db'}"
    assert trimtab("store", url, "--out", tmp_path / "x") == (0, f"{tmp_path / 'x'}: {url}\n")


def test_work_takes_a_study_and_says_how_much_was_done(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("trimtab.api.folder.work", lambda study, out: asked.append((study, out)) or 3)
    assert trimtab("work", "scan-1", "--out", tmp_path) == (0, "3 cohorts trained\n")
    assert trimtab("work", "--out", tmp_path)[0] == 0
    assert asked == [("scan-1", tmp_path), (None, tmp_path)]


def test_fetch_tells_people_and_gives_programs_data_alone(fetched):  # noqa: ARG001
    assert trimtab("fetch")[1] == "fetching\nbundled:tiny is ready in /somewhere/tiny\n"
    assert json.loads(trimtab("fetch", "--json")[1]) == READY
