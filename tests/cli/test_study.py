"""Studies as typed. Only the first trains; what the loop itself has to do with a study is tested in tests/workers."""

import json
import re
from pathlib import Path

import pandas
import pytest
from typer.testing import CliRunner

from tests.sentences import unexplained
from tests.tuning.fake_trainer import nothing_trained  # noqa: F401
from trimtab.api import results
from trimtab.api.resume import stop_study
from trimtab.cli.main import app
from trimtab.errors import SpecError
from trimtab.store import Store

RECIPE = (
    "model: bundled:tiny\ndata: bundled:home-commands\nr: 4\nmax_length: 96\nmax_steps: 12\nlearning_rate:"
    " 1e-3\nper_device_train_batch_size: 4\nweight_decay: 0.1\n"
)


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
    assert "6 runs (3 cells, 2 seeds); 6 to train" in text
    code, text, _ = trimtab(*call)
    assert "all of them there already" in text
    _, shown, _ = trimtab("study", "show", "--out", base / "o", "--json")
    found = json.loads(shown)
    assert [c["against"] is None for c in found["cells"]] == [True, False, False]
    asis, low, high = found["cells"]
    assert high["mean"] < asis["mean"] < low["mean"]
    for told in (found["sentence"], *(c["against"]["need"] or "" for c in (low, high))):
        assert unexplained(told, found, constants=[95]) == [], told
    # How sure two seeds are of it is the processor's affair; that the sentence says what the interval says is ours.
    for cell in (low, high):
        sure = {"better": cell["against"]["high"] < 0, "worse": cell["against"]["low"] > 0}
        assert sure.get(cell["against"]["verdict"], True)
        told_better = f"{cell['cell']} is better than as it is" in found["sentence"]
        assert told_better == (cell["against"]["verdict"] == "better")
    _, shown, _ = trimtab("attribute", "--out", base / "o", "--json")
    loss = next(r for r in json.loads(shown)["rows"] if r["number"] == "validation loss")
    assert loss["shares"][0]["names"] == ["learning_rate"]
    assert loss["shares"][0]["value"] > 0.5
    code, page, error = trimtab("report", "--out", base / "o")
    assert code == 0, error
    html = Path(page.strip()).read_text(encoding="utf-8")
    for picture in ("Cells against the baseline", "Share of each number by setting"):
        assert f'aria-label="{picture}"' in html


@pytest.mark.usefixtures("nothing_trained")
def test_a_study_that_was_cut_short_goes_on_and_says_so_until_then(base, monkeypatch):
    from trimtab.workers.worker import Worker

    train = Worker.train
    call = ("study", "repeat", base / "base.yaml", "--seeds", 3, "--out", base / "cut")
    out = base / "cut"

    def half(self, recipes, *args, **options):
        train(self, recipes[:2], *args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Worker, "train", half)
    trimtab(*call)
    *_, error = trimtab("study", "show", "--out", out)
    assert "is not finished: 2 of 3 runs; go on with: trimtab study resume repeat-" in str(error)
    assert str(error).endswith(f"--out {out}")
    _, listed, _ = trimtab("study", "list", "--out", out, "--json")
    assert [s["status"] for s in json.loads(listed)] == ["cut short"]
    monkeypatch.setattr(Worker, "train", train)
    code, text, _ = trimtab(*call)
    assert code == 0
    assert "1 to train" in text
    assert "over 3 seeds" in text
    assert "Pictures and every number: trimtab report repeat-" in text


@pytest.mark.usefixtures("nothing_trained")
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("scan", "learning_rat=1e-4"), 'did you mean "learning_rate"'),
        (("scan", "r=4,8", "--seeds", "0"), "at least 1"),
        (("ablate", "--without", "dropout"), "dropout: off already"),
        (("batch", "4,x"), "must be a whole number"),
        (("scan", "r=4,4"), "the recipe has this value already"),
        (("scan", "r=2", "--on", "banana"), "allowed are here, local, ray, or the address"),
        (("scan", "seed=1,2"), "seed is not varied as a setting; give --seeds"),
        (("scan", "model=x", "r=0"), "model is held in a study"),
        (("scan", "num_train_epochs=1,2"), "has no effect while max_steps is 12"),
        (("scan", "r=2", "--workers", "0", "--cohort", "0", "--card", "all"), "has 3 problems"),
        (
            ("factorial", "learning_rate=" + ",".join(f"{i}e-4" for i in range(1, 10)), "r=1,2,3,4,5,6,7,8"),
            r"is 72 runs, about \d+ (minutes|seconds) one after another; confirm with --yes",
        ),
    ],
)
def test_bad_input_is_one_sentence(base, args, said):
    kind, *rest = args
    *_, error = trimtab("study", kind, base / "base.yaml", *rest, "--out", base / "o")
    assert isinstance(error, SpecError)
    assert re.search(said, str(error))
    assert not (base / "o").exists() or not any(s["runs"] == 72 for s in results.studies(base / "o"))


@pytest.mark.usefixtures("nothing_trained")
def test_a_search_goes_on_for_more_trials_and_knows_its_budget(base):
    (base / "space.yaml").write_text("learning_rate: {low: 1e-4, high: 3e-2, log: true}\nr: [2, 4]\n", encoding="utf-8")
    (base / "none.yaml").write_text("limits: {kl_generic: {max: 0.000001}}", encoding="utf-8")
    call = (
        "study",
        "search",
        base / "base.yaml",
        "--space",
        base / "space.yaml",
        "--sampler",
        "tpe",
        "--out",
        base / "s",
        "--json",
    )
    code, text, error = trimtab(*call, "--trials", 2)
    assert code == 0, error
    first = json.loads(text)
    assert first["trials"][0]["params"] == {"learning_rate": 1e-3, "r": 4}  # the recipe as it is comes first
    assert first["best"]["loss"] == min(t["loss"] for t in first["trials"])
    _, text, _ = trimtab(*call, "--trials", 3)
    again = json.loads(text)
    assert again["trials"][:2] == first["trials"]
    assert len(again["trials"]) == 3
    *_, error = trimtab("study", "extend", again["study"], "--trials", 3, "--out", base / "s")
    assert "got 3, and 3 were asked for already" in str(error)
    _, text, _ = trimtab(*call, "--trials", 2, "--budget", base / "none.yaml")
    outside = json.loads(text)
    assert outside["best"] is None
    assert "none was trained to its end inside the budget" in outside["sentence"]
    trimtab("study", "export", outside["study"], base / "seen.json", "--out", base / "s")
    seen = pandas.read_json(base / "seen.json")
    assert not seen["inside_budget"].any()  # also of runs that came to their end in another study
    assert set(seen["trial_loss"].round(4)) == {round(t["loss"], 4) for t in outside["trials"]}
    assert "several studies are called search" in str(trimtab("study", "show", "search", "--out", base / "s")[2])


@pytest.mark.usefixtures("nothing_trained")
@pytest.mark.parametrize("sampler", ["gp", "cmaes", "nsga2", "random", "grid"])
def test_every_sampler_proposes_recipes(base, sampler):
    (base / "space.yaml").write_text("learning_rate: {low: 1e-4, high: 3e-2, log: true}\nr: [2, 4]\n", encoding="utf-8")
    code, text, error = trimtab(
        "study",
        "search",
        base / "base.yaml",
        "--space",
        base / "space.yaml",
        "--sampler",
        sampler,
        "--trials",
        2,
        "--out",
        base / "s",
        "--json",
    )
    assert code == 0, error
    assert len(json.loads(text)["trials"]) == 2


@pytest.mark.usefixtures("nothing_trained")
def test_a_search_that_was_killed_trains_what_was_asked_for(base, monkeypatch):
    from trimtab.tuning.search import Search

    (base / "space.yaml").write_text("learning_rate: {low: 1e-4, high: 3e-2, log: true}\nr: [2, 4]\n", encoding="utf-8")
    call = (
        "study",
        "search",
        base / "base.yaml",
        "--space",
        base / "space.yaml",
        "--trials",
        3,
        "--out",
        base / "k",
        "--json",
    )
    tell = Search._tell
    monkeypatch.setattr(Search, "_tell", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    trimtab(*call)
    monkeypatch.setattr(Search, "_tell", tell)
    code, text, error = trimtab(*call)
    assert code == 0, error
    runs = [t["run"] for t in json.loads(text)["trials"]]
    assert len(runs) == len(set(runs)) == 3
    code, listed, _ = trimtab("runs", "--out", base / "k", "--json")
    assert len(json.loads(listed)) == 3  # nothing was asked for twice


@pytest.mark.usefixtures("nothing_trained")
def test_a_study_is_extended_exported_and_walked(base):
    out = base / "more"
    call = ("study", "scan", base / "base.yaml", "learning_rate=1e-2", "--seeds", 1, "--out", out)
    assert trimtab(*call)[0] == 0
    code, text, error = trimtab("study", "extend", "scan", "r=2", "--seeds", 2, "--out", out)
    assert code == 0, error
    assert "6 runs (3 cells, 2 seeds); 4 to train" in text
    _, listed, _ = trimtab("study", "list", "--out", out, "--json")
    rows = json.loads(listed)
    assert [(r["runs"], r["finished"], r["status"]) for r in rows] == [(2, 2, "COMPLETE"), (6, 6, "COMPLETE")]
    name = rows[1]["study"]
    for ending, read in ((".csv", pandas.read_csv), (".parquet", pandas.read_parquet), (".json", pandas.read_json)):
        file = base / f"runs{ending}"
        assert trimtab("study", "export", name, file, "--out", out)[0] == 0
        table = read(file)
        assert len(table) == 6
        assert set(table["learning_rate"]) == {1e-3, 1e-2}
        assert table["validation loss"].notna().all()
    assert trimtab("study", "export", name, base / "runs.db", "--out", out)[0] == 0
    import optuna

    (study,) = (optuna.load_study(study_name=name, storage=f"sqlite:///{base / 'runs.db'}"),)
    assert len(study.trials) == 6
    assert study.best_value == pytest.approx(table["validation loss"].min())
    assert set(table["study"]) == {name}
    assert set(table["model"]) == {"bundled:tiny"}
    assert "there is no folder" in str(trimtab("study", "export", name, base / "none" / "runs.csv", "--out", out)[2])
    assert "every cell has 2 already" in str(trimtab("study", "extend", name, "--seeds", 2, "--out", out)[2])
    assert "allowed are .csv" in str(trimtab("study", "export", name, base / "runs.xls", "--out", out)[2])
    code, page, error = trimtab("report", name, "--out", out)
    assert code == 0, error
    pictures = {p.name for p in (Path(page.strip()).parent / "pictures").iterdir()}
    assert {"scan-learning_rate.svg", "scan-learning_rate.png", "curves.png", "against-the-baseline.svg"} <= pictures


@pytest.mark.usefixtures("nothing_trained")
def test_a_path_from_one_run_to_another(base):
    out = base / "path"
    trimtab("study", "scan", base / "base.yaml", "learning_rate=1e-2", "--seeds", 1, "--out", out)
    (base / "end.yaml").write_text(RECIPE.replace("1e-3", "1e-2").replace("r: 4", "r: 8"), encoding="utf-8")
    trimtab("train", base / "end.yaml", "--out", out)
    ids = {
        r["recipe"]["r"] * r["recipe"]["learning_rate"]: r["id"]
        for r in json.loads(trimtab("runs", "--out", out, "--json")[1])
    }
    code, text, error = trimtab("study", "path", ids[4e-3], ids[8e-2], "--out", out)
    assert code == 0, error
    assert "learning_rate 0.01" in text
    assert "2 settings differ: at most 2 runs" in text
    assert "differ in r; a path needs two settings" in str(
        trimtab("study", "path", ids[4e-2], ids[8e-2], "--out", out)[2]
    )
    _, page, _ = trimtab("report", "path", "--out", out)
    assert "Steps from one run to the other" in Path(page.strip()).read_text(encoding="utf-8")


@pytest.mark.usefixtures("nothing_trained")
def test_a_search_has_a_page_with_its_front(base):
    (base / "space2.yaml").write_text(
        "learning_rate: {low: 1e-4, high: 3e-2, log: true}\nr: [2, 4]\n", encoding="utf-8"
    )
    call = (
        "study",
        "search",
        base / "base.yaml",
        "--space",
        base / "space2.yaml",
        "--trials",
        4,
        "--sampler",
        "random",
        "--out",
        base / "page",
    )
    assert trimtab(*call)[0] == 0
    code, page, error = trimtab("report", "--out", base / "page")
    assert code == 0, error
    html = Path(page.strip()).read_text(encoding="utf-8")
    for picture in ("Validation loss against drift", "Every run through its settings to its loss"):
        assert f'aria-label="{picture}"' in html


@pytest.mark.slow
def test_a_study_is_stopped_from_elsewhere_and_resumed(base, monkeypatch):
    """The request comes while the first of three runs trains, as from another process."""
    from trimtab.workers import worker

    monkeypatch.setattr(worker, "STOP_EVERY", -1.0)
    out, booked, asked = base / "stopped", worker.Store.log_steps, []

    def log_steps(self, rows):
        booked(self, rows)
        if rows[0]["step"] == 2 and not asked:
            asked.append(stop_study(None, out))

    monkeypatch.setattr(worker.Store, "log_steps", log_steps)
    code, _, error = trimtab("study", "repeat", base / "base.yaml", "--seeds", 3, "--cohort", 1, "--out", out)
    assert code != 0
    assert "was stopped on request" in str(error)
    states = {r["id"]: r["status"] for r in json.loads(trimtab("runs", "--out", out, "--json")[1])}
    assert sorted(states.values()) == ["STOPPED", "WAITING", "WAITING"]
    _, listed, _ = trimtab("study", "list", "--out", out, "--json")
    assert json.loads(listed)[0]["finished"] == 0  # what was stopped on request goes on
    assert "is stopped already" in str(trimtab("study", "stop", "--out", out)[2])
    code, text, error = trimtab("study", "resume", "--out", out)
    assert code == 0, error
    assert "over 3 seeds" in text


@pytest.mark.usefixtures("nothing_trained")
def test_where_the_store_is(base, server_url):
    out = base / "server"
    assert f"sqlite:///{out}" in trimtab("store", "--out", out)[1]
    assert "psycopg" in trimtab("store", server_url, "--out", out)[1]
    assert trimtab("study", "repeat", base / "base.yaml", "--seeds", 2, "--out", out)[0] == 0
    assert not (out / "trimtab.db").exists()
    assert len(json.loads(trimtab("runs", "--out", out, "--json")[1])) == 2
    Store(base / "kept").close()
    assert "has a store with runs in it" in str(trimtab("store", server_url, "--out", base / "kept")[2])


@pytest.mark.usefixtures("nothing_trained")
def test_a_screened_search_trains_half_of_what_it_looks_at(base):
    (base / "space3.yaml").write_text("learning_rate: {low: 1e-5, high: 3e-2, log: true}\n", encoding="utf-8")
    call = (
        "study",
        "search",
        base / "base.yaml",
        "--space",
        base / "space3.yaml",
        "--trials",
        8,
        "--screen",
        "--out",
        base / "screen",
        "--json",
    )
    code, text, error = trimtab(*call)
    assert code == 0, error
    found = json.loads(text)
    assert (found["screened"], len(found["trials"])) == (4, 4)
    assert 1e-3 in {t["params"]["learning_rate"] for t in found["trials"]}  # the recipe as it is always stays
    assert len(json.loads(trimtab("runs", "--out", base / "screen", "--json")[1])) == 4


@pytest.mark.slow
def test_runs_of_other_lengths_share_their_start_unless_told(base, monkeypatch):
    from trimtab.run.cohort import Cohort

    (base / "long.yaml").write_text(
        RECIPE.replace("max_steps: 12", "max_steps: 8") + "lr_scheduler_type: constant\nwarmup_steps: 2\n",
        encoding="utf-8",
    )
    passes, once = [], Cohort.forward_backward
    monkeypatch.setattr(
        Cohort, "forward_backward", lambda self, members: (passes.extend(members), once(self, members))[1]
    )
    counts = []
    for i, options in enumerate(((), ("--no-share-start",))):
        passes.clear()
        code, _, error = trimtab(
            "study", "scan", base / "long.yaml", "max_steps=16", "--seeds", 1, *options, "--out", base / f"steps{i}"
        )
        assert code == 0, error
        counts.append(len(passes))
    assert counts[0] == counts[1] - 8
    losses = [
        [
            e["loss"]
            for c in json.loads(trimtab("study", "show", "--out", base / f"steps{i}", "--json")[1])["cells"]
            for e in [{"loss": c["losses"][0]}]
        ]
        for i in (0, 1)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
