"""The commands as typed: good ones on the tiny model, and every kind of bad input with one sentence and exit code 2."""

import json
import shlex
import subprocess
import sys

import pytest
import yaml

from tests.sentences import unexplained
from tests.tuning.fake_trainer import nothing_trained  # noqa: F401
from trimtab.cli.main import run
from trimtab.spec.results import CardResult
from trimtab.store.folder import opened
from trimtab.tuning.choice import MARGIN


@pytest.fixture
def trimtab(monkeypatch, capsys):
    def call(*args):
        monkeypatch.setattr(sys, "argv", ["trimtab", *map(str, args)])
        try:
            run()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def recipe_file(tmp_path, recipe):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
    return path


def small_study(data, out, *own):
    """Arguments of a tune with the rate and the batch given, so that only seeds are trained."""
    return ("tune", "bundled:tiny", data, "learning_rate=1e-3", "per_device_train_batch_size=8", *own, "--out", out)


def test_train_runs_card_and_compare(trimtab, recipe_file, tmp_path):
    out = tmp_path / "out"
    code, text, _ = trimtab("train", recipe_file, "--out", out)
    assert code == 0
    assert "COMPLETE" in text
    assert "44 train" in text
    trimtab("train", recipe_file, "learning_rate=1e-2", "--out", out)
    _, text, _ = trimtab("runs", "--out", out, "--json")
    first, second = (r["id"] for r in json.loads(text))
    code, text, _ = trimtab("runs", "--out", out)
    assert first in text
    code, text, _ = trimtab("compare", first, second, "--out", out)
    assert code == 0
    assert "learning_rate" in text
    assert "paired items" in text
    code, text, _ = trimtab("card", first[:7], "--out", out, "--level", "short", "--budget", "loose", "--json")
    assert code == 0
    assert json.loads(text)["budget"]["name"] == "loose"
    code, text, _ = trimtab("card", first, "--level", "short", "--budget", "loose", "--out", out)
    assert "against budget" in text


def test_tune_ends_with_a_report_and_is_looked_up_the_second_time(trimtab, small_file, tmp_path):
    args = small_study(small_file, tmp_path / "o", "num_train_epochs=1")
    code, text, err = trimtab(*args)
    assert code == 0, err
    page = text.strip().splitlines()[-1].removeprefix("Report: ")
    assert page.endswith("report.html")
    study = (tmp_path / "o").glob("tune-*").__next__()
    assert {p.name for p in study.iterdir()} == {"report.html", "report.json", "recipe.yaml", "adapter"}
    code, again, _ = trimtab(*args, "--json")
    assert code == 0
    assert json.loads(again)["report"] == page
    every_sentence_is_true(tmp_path / "o", study.name)
    code, text, _ = trimtab("report", study.name[:8], "--out", tmp_path / "o")
    assert text.strip() == page
    code, text, _ = trimtab(*args[:3], "--explain", "--out", tmp_path / "o")
    assert code == 0
    assert "Where to start" in text
    assert "Confirm with 3 seeds." in text
    code, text, _ = trimtab("study", "show", "--out", tmp_path / "o")  # the newest of any kind
    assert (code, "Verdict against the budget" in text, f"Report: {page}" in text) == (0, True, True)
    *_, error = trimtab("attribute", "--out", tmp_path / "o")
    assert f"{study.name} has" in str(error)  # found, though three runs are too few
    *_, error = trimtab("study", "extend", study.name, "--seeds", "9", "--out", tmp_path / "o")
    assert "tune extends its scan itself" in str(error)


def every_sentence_is_true(out, study):
    """Each number of each decision stands in what was stored with it, or in the facts that it was decided from."""
    with opened(out, create=False) as store:
        facts = store.study(study).facts.model_dump(mode="json")
        decisions = store.decisions(study)
        card = store.card(facts["recommendation"]["run"])
    assert {"plan", "seeds", "recommendation"} <= {d["place"] for d in decisions}
    for d in decisions:
        assert unexplained(d["sentence"], d["evidence"], constants=[MARGIN, *tally(card, d)]) == [], d["sentence"]


def tally(card, decision):
    """What the recommendation counts: the seeds that chose nothing, and what the card could not say."""
    rows = card["judged"]["rows"]
    missing = sum(bool(r["verdict"]) and r["value"] is None for r in rows)
    return [missing, decision["evidence"]["counted"]] if decision["place"] == "recommendation" else []


BAD = {
    "unknown model": (("tune", "bundled:nothing", "bundled:home-commands"), "there is no bundled model"),
    "hub out of reach": (("tune", "some/model", "{small}"), "hub did not give it"),
    "model folder that is none": (("tune", "./nowhere", "{small}"), "does not exist"),
    "empty file": (("tune", "bundled:tiny", "{empty}"), "is empty"),
    "wrong column": (("tune", "bundled:tiny", "{columns}"), "none of the known forms"),
    "answer longer than the cutoff": (("tune", "bundled:tiny", "{small}", "max_length=10"), "every label is masked"),
    "a GGUF file that is none": (("tune", "{gguf}", "{small}"), "cannot be loaded"),
    "out that cannot be made": (
        ("tune", "bundled:tiny", "{small}", "--out", "/proc/nothing"),
        "cannot be made a folder",
    ),
    "unknown --also": (("tune", "bundled:tiny", "{small}", "--also", "decoy"), "allowed are rank, decay"),
    "--also of one's own": (("tune", "bundled:tiny", "{small}", "r=4", "--also", "rank"), "r is your own setting"),
    "nothing to explain": (("tune", "bundled:tiny", "{small}", "--explain", "--out", "{store}"), "holds no study of"),
    "no workers": (("tune", "bundled:tiny", "{small}", "--workers", "0"), "--workers: got 0; at least 1"),
    "a store that is no store": (("store", "nonsense", "--out", "{new}"), "is no address of a database"),
    "empty time": (("tune", "bundled:tiny", "{small}", "--time", ""), "give a duration"),
    "non-UTF-8": (("tune", "bundled:tiny", "{latin}"), "not UTF-8"),
    "negative rate": (("tune", "bundled:tiny", "{small}", "learning_rate=-1"), "learning_rate: got -1"),
    "unknown setting": (("tune", "bundled:tiny", "{small}", "learning_rat=1"), 'did you mean "learning_rate"'),
    "unknown key in YAML": (("train", "{recipe_typo}"), 'did you mean "num_train_epochs"'),
    "budget that nothing can meet": (("tune", "bundled:tiny", "{small}", "--budget", "{budget}"), "nothing can meet"),
    "budget that is not there": (("tune", "bundled:tiny", "{small}", "--budget", "strict"), "neither a preset"),
    "time": (("tune", "bundled:tiny", "{small}", "--time", "soon"), "give a duration"),
    "several wrong settings": (("tune", "bundled:tiny", "{small}", "r=0", "oops"), "has 2 problems"),
    "model as a setting": (
        ("tune", "bundled:tiny", "{small}", "model=x"),
        "MODEL and DATA are the first two arguments",
    ),
    "wrong --max-time": (("train", "{recipe_good}", "--max-time", "soon"), "--max-time: got"),
    "a layer that is not there": (
        ("tune", "bundled:tiny", "{small}", "target_modules=[q_proj,v_prj]"),
        "target_modules v_prj name no layer of this model",
    ),
    "too little time": (("tune", "bundled:tiny", "{small}", "--time", "0.01s"), "are too short"),
    "no such run": (("card", "abc", "--out", "{store}"), 'no run "abc"'),
    "no store": (("runs", "--out", "nowhere"), "holds no trimtab store"),
    "no study": (("report", "--out", "{store}"), "no study"),
    "no recipe file": (("train", "none.yaml"), "does not exist"),
    "out is a file": (("tune", "bundled:tiny", "{small}", "--out", "{small}"), "is a file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(trimtab, case, tmp_path, small_file, monkeypatch):
    from trimtab.store import Store

    monkeypatch.chdir(tmp_path)
    names = {
        k: tmp_path / v
        for k, v in {
            "empty": "e.jsonl",
            "columns": "c.csv",
            "latin": "l.jsonl",
            "budget": "b.yaml",
            "recipe_typo": "r.yaml",
            "recipe_good": "g.yaml",
            "store": "store",
            "gguf": "no.gguf",
            "new": "new",
        }.items()
    }
    names["empty"].write_text("")
    names["columns"].write_text("title,body\na,b\n")
    names["latin"].write_bytes('{"prompt": "é"}'.encode("latin-1"))
    names["budget"].write_text("limits:\n  kl_generic: {max: -1}\n")
    names["gguf"].write_text("no")
    names["recipe_good"].write_text("model: m\ndata: d\n")
    names["recipe_typo"].write_text("model: m\ndata: d\nnum_train_epoch: 1\n")
    Store(names["store"])
    args, said = BAD[case]
    code, text, err = trimtab(*(a.format(small=small_file, **names) for a in args))
    assert code == 2, text + err
    assert said in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1 + 2 * ("2 problems" in said)
    assert not list(tmp_path.glob("**/report.html"))
    assert not list(tmp_path.glob("**/adapter_model.safetensors"))


def test_a_full_disk_is_said(trimtab, small_file, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    code, _, err = trimtab("tune", "bundled:tiny", small_file, "--out", tmp_path / "o")
    assert (code, "0 MB are free" in err) == (2, True)


def test_a_second_process_in_the_same_folder_is_refused(trimtab, small_file, tmp_path):
    from trimtab.store.folder import opened

    with opened(tmp_path):
        code, _, err = trimtab("tune", "bundled:tiny", small_file, "--out", tmp_path)
    assert code == 2
    assert "another trimtab is working" in err


def test_help_teaches_and_loads_nothing_heavy():
    code = (
        "import sys\nfrom trimtab.cli import main\nheavy = {'torch', 'transformers', 'peft', 'datasets', 'sqlalchemy',"
        " 'scipy', 'pandas', 'numpy'} & set(sys.modules)\nsys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = subprocess.run([sys.executable, "-m", "trimtab", "--help"], capture_output=True, text=True).stdout
    for verb in ("tune", "train", "runs", "card", "compare", "report", "demo"):
        assert verb in text


@pytest.mark.usefixtures("nothing_trained")
def test_changed_data_is_a_new_study_and_the_old_recipe_says_so(trimtab, small_file, tmp_path):
    data, out = tmp_path / "d.jsonl", tmp_path / "o"
    data.write_text(small_file.read_text())
    args = small_study(data, out, "max_steps=4")
    first = json.loads(trimtab(*args, "--json")[1])
    data.write_text(small_file.read_text().replace("lamp", "torch"))
    second = json.loads(trimtab(*args, "--json")[1])
    assert first["study"] != second["study"]
    assert not set(first["runs"]) & set(second["runs"])
    code, _, err = trimtab("train", out / first["study"] / "recipe.yaml", "--out", out)
    assert code == 2
    assert f"{data} has changed since this recipe was written" in err
    code, _, err = trimtab("compare", first["run"], second["run"], "--out", out)
    assert "validated on different items" in err


@pytest.mark.usefixtures("nothing_trained")
def test_a_second_study_shows_the_runs_that_it_shares(trimtab, small_file, tmp_path):
    args = small_study(small_file, tmp_path, "max_steps=4")
    first = json.loads(trimtab(*args, "--json")[1])
    second = json.loads(trimtab(*args, "--budget", "loose", "--json")[1])
    assert first["study"] != second["study"]
    assert first["runs"] == second["runs"]
    _, text, _ = trimtab("report", second["study"], "--out", tmp_path, "--json")
    assert {r["id"] for r in json.loads(text)["runs"]} == set(first["runs"])


@pytest.mark.usefixtures("nothing_trained")
def test_the_command_to_reproduce_can_be_pasted(trimtab, small_file, tmp_path):
    out = tmp_path / "my runs"
    args = small_study(small_file, out, "max_steps=2", "target_modules=[q_proj, v_proj]", "bf16=false")
    result = json.loads(trimtab(*args, "--certify", "--json")[1])
    _, text, _ = trimtab("report", "--out", out, "--json")
    words = shlex.split(json.loads(text)["asked"]["command"])
    assert "--certify" in words
    again = json.loads(trimtab(*words[1:], "--json")[1])
    assert again["study"] == result["study"]


@pytest.mark.slow
def test_the_card_of_a_full_run_and_the_budget_of_its_study(trimtab, small_file, tmp_path):
    args = (
        "method=full",
        "bf16=true",
        "learning_rate=1e-5",
        "per_device_train_batch_size=8",
        "max_steps=2",
        "--budget",
        "loose",
    )
    result = json.loads(trimtab("tune", "bundled:tiny", small_file, *args, "--out", tmp_path, "--json")[1])
    code, text, err = trimtab("card", result["run"], "--out", tmp_path, "--json")
    assert code == 0, err
    assert json.loads(text)["budget"]["name"] == "loose"
    assert {*json.loads(text), "page"} == set(CardResult.__annotations__)
    code, text, err = trimtab("card", result["run"], "--out", tmp_path, "--budget", "standard", "--json")
    assert code == 0, err
    assert next(r["n"] for r in json.loads(text)["rows"] if r["number"] == "cut") == 100


def test_a_run_that_breaks_exits_with_1(trimtab, recipe_file, tmp_path):
    wild = ("learning_rate=1", "optim=sgd", "lora_alpha=1e30", "max_grad_norm=0")
    code, text, _ = trimtab("train", recipe_file, *wild, "--out", tmp_path / "o")
    assert code == 1
    assert "FAILED" in text


def test_a_limit_leaves_a_run_that_goes_on(trimtab, recipe_file, tmp_path):
    code, text, _ = trimtab("train", recipe_file, "--max-tokens", "50", "--out", tmp_path / "o")
    assert (code, "STOPPED: limit of 50 tokens" in text, "weights so far in" in text) == (0, True, True)
    code, text, _ = trimtab("train", recipe_file, "--out", tmp_path / "o")
    assert (code, "COMPLETE" in text) == (0, True)


def test_version(trimtab):
    assert trimtab("--version")[1].startswith("trimtab ")
