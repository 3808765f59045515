"""A study's runs for other programs: the same table in every form, whole or not at all."""

import optuna
import pandas
import pytest

from tests.tuning.fake_trainer import ASKED
from trimtab.errors import SpecError
from trimtab.reporting import export
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Status
from trimtab.store import Store

RECIPE = Recipe(model="m", data="d", r=4)
READERS = {".csv": pandas.read_csv, ".parquet": pandas.read_parquet, ".json": pandas.read_json}


@pytest.fixture
def store(tmp_path):
    """Three runs of one study: done, stopped by a race, failed before it was ever looked at."""
    made = Store(tmp_path / "out")
    made.open_study(ASKED["scan"], "s")
    ends = ((1e-3, Status.COMPLETE, (3.0, 1.0, 2.0)), (1e-2, Status.STOPPED, (5.0,)), (1e-1, Status.FAILED, ()))
    for rate, status, losses in ends:
        run = made.add_run(RECIPE.but(learning_rate=rate, target_modules=["q_proj", "v_proj"]), "s").id
        for step, loss in enumerate(losses, 1):
            made.log_evaluation(
                run=run, step=step, share=step / 3, loss=loss, items=[loss], pulse={"kl_pulse": [0.1, 0.3]}
            )
        made.update_run(run, status=status, reason=None if losses else "no memory", result={"seconds": 7.5})
    return made


@pytest.mark.parametrize("ending", READERS)
def test_every_form_reads_back_as_the_same_rows(store, tmp_path, ending):
    assert export.write(store, "s", tmp_path / f"t{ending}") == 3
    table = READERS[ending](tmp_path / f"t{ending}")
    assert list(table["run"]) == [r.id for r in store.runs("s")]
    assert list(table["learning_rate"]) == [1e-3, 1e-2, 1e-1]
    assert list(table["target_modules"]) == ["q_proj v_proj"] * 3
    assert list(table["status"]) == ["COMPLETE", "STOPPED", "FAILED"]
    assert table["validation loss"].dropna().tolist() == [1.0, 5.0]  # the best look, not the last
    assert table["kl_pulse"].dropna().tolist() == pytest.approx([0.2, 0.2])


def test_optuna_opens_it_with_the_loss_as_its_objective(store, tmp_path):
    assert export.write(store, "s", tmp_path / "t.db") == 3
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 't.db'}")
    assert [t.state.name for t in study.trials] == ["COMPLETE", "PRUNED", "FAIL"]
    assert [t.params for t in study.trials] == [{"learning_rate": v} for v in (1e-3, 1e-2, 1e-1)]  # what differs alone
    assert (study.direction.name, study.best_trial.value) == ("MINIMIZE", 1.0)
    assert study.trials[0].intermediate_values == {1: 3.0, 2: 1.0, 3: 2.0}
    assert study.trials[2].user_attrs["reason"] == "no memory"


@pytest.mark.parametrize(
    ("name", "said"), [("t.xlsx", r"allowed are \.csv, \.parquet"), ("none/t.csv", "there is no folder")]
)
def test_where_it_cannot_go_is_one_sentence(store, tmp_path, name, said):
    with pytest.raises(SpecError, match=said):
        export.write(store, "s", tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_leaves_the_file_that_was_there(store, tmp_path, monkeypatch):
    def breaks(_table, path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    (tmp_path / "t.csv").write_text("before")
    monkeypatch.setitem(export.WRITERS, ".csv", breaks)
    with pytest.raises(SpecError, match=r"cannot be written \(No space left"):
        export.write(store, "s", tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "t.csv"]


def test_a_study_without_runs_is_an_empty_table(tmp_path):
    store = Store(tmp_path)
    store.open_study(ASKED["scan"], "s")
    assert export.rows_of(store, "s") == []
    assert export.write(store, "s", tmp_path / "t.csv") == 0


@pytest.mark.parametrize("name", ["a?b.db", "a%20b.db", "a#b.db"])
def test_a_path_is_no_address(store, tmp_path, name):
    assert export.write(store, "s", tmp_path / name) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "out"])
