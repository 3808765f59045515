"""What a worker does with a job: trains what is still due, as the job asks, with one model for a whole study."""

import os
from types import SimpleNamespace

import pytest

from tests.tuning.fake_trainer import ASKED
from trimtab.errors import SpecError
from trimtab.run.material import Material
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Cause, Status
from trimtab.store import Store
from trimtab.workers import job as jobs
from trimtab.workers.specs import JobSpec, WorkerSpec

RECIPES = [Recipe(model="m", data="d", seed=s) for s in (1, 2, 3)]


@pytest.fixture
def trained(monkeypatch):
    """Each cohort that a worker was told to train: (which worker, cohort, runs, race)."""
    calls, made = [], []

    def worker(store, what, machine, watcher, spec, study):  # noqa: ARG001
        made.append(None)
        number = len(made)
        note = lambda cohort, recipes, race: calls.append((number, cohort, [r.seed for r in recipes], race))  # noqa: E731
        return SimpleNamespace(material=what, spec=spec, train_cohort=note)

    monkeypatch.setattr(jobs, "Worker", worker)
    monkeypatch.setattr(jobs, "_material", lambda model, data, task: Material(model, data, None, "aaaa-bbbb", task))
    monkeypatch.setattr(jobs, "_kept", [])
    monkeypatch.chdir(os.getcwd())  # a job changes the folder
    return calls


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path)
    for study in ("s", "t"):
        made.open_study(ASKED["scan"], study)
    for recipe in RECIPES:
        made.add_run(recipe, "s")
    return made


def add(store, tmp_path, study="s", cohort="c", runs=RECIPES, **asked):
    spec = JobSpec(model="m", data="d", threads=1, worker=WorkerSpec(), where=str(tmp_path), **asked)
    return store.queue.add(study, cohort, [r.run_id for r in runs], spec.as_json())


def test_what_is_done_is_not_trained_again_what_a_limit_stopped_is(store, tmp_path, trained):
    store.update_run(RECIPES[0].run_id, status=Status.COMPLETE)
    store.update_run(RECIPES[1].run_id, status=Status.STOPPED, result={"cause": Cause.LIMIT})
    jobs.train(store, add(store, tmp_path))
    assert trained == [(1, "c", [2, 3], None)]
    jobs.train(store, add(store, tmp_path, cohort="done", runs=RECIPES[:1]))
    assert len(trained) == 1


def test_the_model_stays_for_jobs_of_one_study_whatever_they_race_against(store, tmp_path, trained):
    jobs.train(store, add(store, tmp_path, cohort="a", against=("x",), both=True))
    jobs.train(store, add(store, tmp_path, cohort="b"))
    jobs.train(store, add(store, tmp_path, cohort="c", study="t"))
    assert [number for number, *_ in trained] == [1, 1, 2]
    race = trained[0][3]
    assert (race.against, race.both, trained[1][3]) == (("x",), True, None)
    assert os.getcwd() == str(tmp_path)  # where names of models and data are relative to


def test_a_race_against_nobody_is_a_race(store, tmp_path, trained):
    """Members of one cohort may stop one another."""
    jobs.train(store, add(store, tmp_path, against=()))
    assert trained[0][3] is not None


def test_another_machines_files_under_the_same_names_are_refused(store, tmp_path, trained):
    other = RECIPES[0].but(fingerprint="aaaa-cccc")
    store.add_run(other, "s")
    with pytest.raises(SpecError, match="d has changed since this recipe was written"):
        jobs.train(store, add(store, tmp_path, runs=[other]))
    assert trained == []
