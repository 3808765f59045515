"""`trimtab inside`: what it refuses, and how a walk is shown."""

import pytest
from typer.testing import CliRunner

from tests.cli.test_main import trimtab  # noqa: F401
from tests.tuning.test_ladder import RUN, walk
from trimtab.cli.main import app
from trimtab.cli.show.inside import ladder
from trimtab.store import Store


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("nowhere",), "no run"),
        ((RUN.run_id,), "has left no weights"),
        ((RUN.run_id, "--budget", "soft.yaml"), "has no hard limit"),
        ((RUN.run_id, "--time", "soon"), "--time"),
        ((RUN.run_id, "--workers", "0"), "workers"),
    ],
)
def test_what_is_refused_in_one_sentence(tmp_path, monkeypatch, trimtab, args, said):  # noqa: F811
    Store(tmp_path / "out").add_run(RUN)
    monkeypatch.chdir(tmp_path)
    off = "".join(f"  {k}: {{hard: false}}\n" for k in ("kl_generic", "degeneration", "refusal", "label_brier"))
    (tmp_path / "soft.yaml").write_text(f"limits:\n{off}")
    code, _, error = trimtab("inside", *args, "--out", "out")
    assert code == 2
    assert said in error


def test_a_walk_is_shown_rung_by_rung(tmp_path, capsys):
    result, _ = walk(tmp_path, held=0.1)
    ladder({**result, "report": "page.html"})
    text = capsys.readouterr().out
    assert "→" in text
    assert "keeps 100% of the gain" in text
    assert "page.html" in text


def test_help_names_the_remedies():
    assert "share of the adapter" in CliRunner().invoke(app, ["inside", "--help"]).output


def test_it_ends_in_what_to_type_next():
    from trimtab.api.inside import _next

    command = "trimtab inside 12ab --budget my.yaml --time 9m --out here"
    cut = {"recommended": None, "rungs": [{"note": None}, {"note": "not tried", "need": 300.0}]}
    assert _next(cut, command, used=240.0) == "trimtab inside 12ab --budget my.yaml --out here --time 10m"
    assert _next({**cut, "recommended": {"run": "34cd-s1"}}, command, 240.0) == "trimtab review 34cd-s1 --out here"
    assert _next({"recommended": None, "rungs": []}, command, 240.0) == ""
