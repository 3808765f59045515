"""The seam: a task that is no language model goes through everything by touching one file (tests/toy_task.py)."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.toy_task import Item, Toy
from trimtab.cli.main import app
from trimtab.errors import SpecError
from trimtab.run.cohort import Cohort
from trimtab.spec.recipe import Recipe
from trimtab.spec.words import task_problem, words_of
from trimtab.store import Store
from trimtab.tasks.task import find_task

ROOT = Path(__file__).parents[2]
RECIPE = (
    "model: {0}/model\ndata: {0}/rows.json\ntask: tests.toy_task:Toy\nr: 2\nlearning_rate: 3e-2\nmax_steps:"
    " {1}\nper_device_train_batch_size: 8\n"
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("toy"), random.Random(0)
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text('{"inputs": 4, "hidden": 16}')
    rows = [[rng.gauss(0, 1) for _ in range(4)] for _ in range(80)]
    truth = [{"x": x, "y": 0.5 * x[0] - 0.3 * x[1] + 0.2} for x in rows]
    (folder / "rows.json").write_text(json.dumps(truth))
    (folder / "short.yaml").write_text(RECIPE.format(folder, 40))
    (folder / "long.yaml").write_text(RECIPE.format(folder, 1500).replace("3e-2", "1e-3") + "eval_steps: 0.02\n")
    return folder


def trimtab(*args):
    result = CliRunner().invoke(app, [str(a) for a in args])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.mark.parametrize("method", ["lora", "full"])
def test_it_is_trained(toy, tmp_path, method):
    text = trimtab("train", toy / "short.yaml", f"method={method}", "--out", tmp_path)
    assert "COMPLETE" in text
    assert "64 rows to train on" in text
    (run,) = Store(tmp_path).runs()
    losses = [e["loss"] for e in Store(tmp_path).evaluations(run.id)]
    assert losses[-1] < losses[0]
    assert run.result["size"] == 40 * 8
    assert "updates of 8 examples" in trimtab("gradient-shares", run.id, "--out", tmp_path)


def test_studies_compare_and_report(toy, tmp_path):
    out = ("--out", tmp_path)
    text = trimtab("study", "scan", toy / "short.yaml", "learning_rate=1e-4", "--seeds", 2, *out)
    assert "squared error" in text
    assert "nats" not in text
    assert "4 runs (2 cells, 2 seeds)" in text
    told = trimtab("study", "repeat", toy / "short.yaml", "--seeds", 3, *out)
    assert "than the untouched model" in told
    assert "squared error" in told
    first, second, *_ = (r.id for r in Store(tmp_path).runs())
    compared = trimtab("compare", first, second, *out)
    assert "squared error" in compared
    assert "drift" not in compared  # none is measured
    for kind in ("scan", "repeat"):
        page = Path(trimtab("report", kind, *out).strip()).read_text(encoding="utf-8")
        assert "squared error" in page
        assert "nats" not in page


def test_tune_recommends_in_its_own_words(toy, tmp_path):
    own = ("task=tests.toy_task:Toy", "learning_rate=3e-2", "per_device_train_batch_size=8", "max_steps=40", "r=2")
    text = trimtab("tune", toy / "model", toy / "rows.json", *own, "--out", tmp_path)
    assert "Within 0.1 of the truth" in text
    page = Path(re.search(r"Report: (.*report\.html)", text)[1]).read_text(encoding="utf-8")
    assert "Within 0.1 of the truth" in page
    assert "nats/token" not in page


def test_killed_it_goes_on_and_ends_in_the_same_bits(toy, tmp_path):
    call = ("train", str(toy / "long.yaml"), "--certify", "--out")
    trimtab(*call, tmp_path / "whole")
    process = subprocess.Popen(
        [sys.executable, "-m", "trimtab", *call, tmp_path / "killed"], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    while not list(tmp_path.glob("killed/runs/*/best")):
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (run,) = Store(tmp_path / "killed").runs()
    assert not run.status.is_finished()
    trimtab(*call, tmp_path / "killed")
    losses = [[(s["step"], s["loss"]) for s in Store(tmp_path / out).steps(run.id)] for out in ("whole", "killed")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 1500


def test_a_cohort_trains_each_as_alone(toy):
    base = Toy().load_base(str(toy / "model"), None, None, False, False, "cpu", print)
    recipes = [
        Recipe(model="m", data="d", task="tests.toy_task:Toy", r=r, learning_rate=0.01, lora_dropout=0.2, seed=r)
        for r in (1, 2, 4)
    ]
    data = Toy().encode(Toy().read(str(toy / "rows.json"), print), None, recipes[0])
    together = Cohort(base, recipes, data)
    found = together.forward_backward(together.members)
    for recipe, (loss, size) in zip(recipes, found, strict=True):
        alone = Cohort(base, [recipe], data)
        assert alone.forward_backward(alone.members)[0] == (pytest.approx(loss, rel=1e-5), size)
    (evaluation,) = together.evaluate(together.members[:1], [Item((0.0,) * 4, 0.2)])
    assert len(evaluation.losses) == 1
    assert torch.isfinite(torch.tensor(evaluation.losses)).all()


def test_a_task_that_cannot_be_found_is_one_sentence():
    with pytest.raises(SpecError, match="give module:Class of an importable file"):
        find_task("nowhere:Nothing")
    assert task_problem("text-classification") is None
    assert "does not train yet" in task_problem("dpo")
    assert "did you mean" in task_problem("sfft")
    assert words_of("sft").unit == "nats/token"
