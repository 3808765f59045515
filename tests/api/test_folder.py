"""Where things are: a folder's store, moved only while it is empty, and a queue that is worked off."""

import pytest

from tests.tuning.fake_trainer import ASKED
from trimtab.api import folder
from trimtab.errors import StoreError
from trimtab.spec.recipe import Recipe
from trimtab.store import Store

RECIPE = Recipe(model="m", data="d")


def test_a_new_folder_is_kept_elsewhere_from_then_on(tmp_path):
    out, url = tmp_path / "out", f"sqlite:///{tmp_path / 'there.db'}"
    assert folder.keep_store(None, out) == f"sqlite:///{out / 'trimtab.db'}"
    assert not out.exists()  # asking makes nothing
    assert folder.keep_store(url, out) == url
    Store(out).add_run(RECIPE)
    assert [r.id for r in Store(url=url).runs()] == [RECIPE.run_id]
    assert not (out / "trimtab.db").exists()
    assert folder.keep_store(None, out) == url
    assert (out / "store.url").stat().st_mode & 0o077 == 0  # an address may hold a password


def test_a_store_with_runs_is_not_left_behind(tmp_path):
    Store(tmp_path).add_run(RECIPE)
    with pytest.raises(StoreError, match="has a store with runs in it; give a new folder"):
        folder.keep_store("postgresql+psycopg://me:secret@localhost:1/x", tmp_path)
    assert not (tmp_path / "store.url").exists()


def test_an_address_that_cannot_be_reached_is_not_written_down(tmp_path):
    with pytest.raises(StoreError) as told:
        folder.keep_store("postgresql+psycopg://me:secret@localhost:1/x", tmp_path / "new")
    assert "secret" not in str(told.value)
    assert not (tmp_path / "new" / "store.url").exists()


def test_work_is_of_one_study_and_counts_its_cohorts(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr("trimtab.workers.job.train", lambda _store, job: trained.append(job.cohort))
    store = Store(tmp_path)
    for study, cohorts in (("mine", ("a", "b")), ("other", ("c",))):
        store.open_study(ASKED["scan"], study)
        for cohort in cohorts:
            store.queue.add(study, cohort, [], {})
    assert folder.work("mine", tmp_path) == 2
    assert sorted(trained) == ["a", "b"]
    assert folder.work("mine", tmp_path) == 0


def test_where_there_is_no_store_there_is_nothing_to_work_at(tmp_path):
    with pytest.raises(StoreError, match="holds no trimtab store"):
        folder.work(None, tmp_path / "none")
    assert not (tmp_path / "none").exists()
