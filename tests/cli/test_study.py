"""Designed studies as typed, on the tiny model: real runs."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trimtab.cli.main import app
from trimtab.errors import SpecError

RECIPE = "model: bundled:tiny\ndata: bundled:home-commands\nr: 4\nmax_length: 96\nmax_steps: 12\nlearning_rate: 1e-3\nper_device_train_batch_size: 4\nweight_decay: 0.1\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    (folder / "base.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


def trimtab(*args):
    result = CliRunner().invoke(app, [str(a) for a in args])
    return result.exit_code, result.output, result.exception


def test_a_scan_is_carried_out_looked_up_and_attributed(base):
    call = ("study", "scan", base / "base.yaml", "learning_rate=1e-5,1e-2", "--seeds", 2, "--out", base / "o")
    code, text, error = trimtab(*call)
    assert code == 0, error
    assert "learning_rate 0.01 is better than as it is" in " ".join(text.split())
    assert "6 runs (3 cells, 2 seeds); 6 to train" in text
    code, text, _ = trimtab(*call)
    assert "all of them there already" in text
    _, shown, _ = trimtab("study", "show", "--out", base / "o", "--json")
    found = json.loads(shown)
    assert [c["against"] is None for c in found["cells"]] == [True, False, False]
    _, shown, _ = trimtab("attribute", "--out", base / "o", "--json")
    loss = next(r for r in json.loads(shown)["rows"] if r["number"] == "validation loss")
    assert loss["shares"][0]["names"] == ["learning_rate"]
    assert loss["shares"][0]["value"] > 0.5
    code, page, error = trimtab("report", "--out", base / "o")
    assert code == 0, error
    html = Path(page.strip()).read_text(encoding="utf-8")
    for picture in ("Cells against the baseline", "Share of each number by setting"):
        assert f'aria-label="{picture}"' in html


def test_a_study_that_was_cut_short_goes_on_and_says_so_until_then(base, monkeypatch):
    from trimtab.tune.worker import Worker

    train = Worker.train
    call = ("study", "repeat", base / "base.yaml", "--seeds", 3, "--out", base / "cut")

    def half(self, recipes, *args, **options):
        train(self, recipes[:2], *args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Worker, "train", half)
    trimtab(*call)
    *_, error = trimtab("study", "show", "--out", base / "cut")
    assert "is not finished: 2 of 3 runs; go on with: trimtab study repeat" in str(error)
    monkeypatch.setattr(Worker, "train", train)
    code, text, _ = trimtab(*call)
    assert code == 0
    assert "1 to train" in text
    assert "over 3 seeds" in text


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("scan", "learning_rat=1e-4"), 'did you mean "learning_rate"'),
        (("scan", "r=4,8", "--seeds", "0"), "at least 1"),
        (("ablate", "--without", "dropout"), "dropout is off already"),
        (("batch", "4,x"), "must be a whole number"),
        (("factorial", "learning_rate=" + ",".join(f"{i}e-4" for i in range(1, 10)), "r=1,2,3,4,5,6,7,8"), "is 72 runs; confirm with --yes"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(base, args, said):
    kind, *rest = args
    *_, error = trimtab("study", kind, base / "base.yaml", *rest, "--out", base / "o")
    assert isinstance(error, SpecError)
    assert said in str(error)
