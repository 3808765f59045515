"""Rows of the tables become typed runs and studies, and what no trimtab wrote does not pass."""

from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from tests.tuning.fake_trainer import ASKED
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Status
from trimtab.spec.study import SearchFacts
from trimtab.store import owner
from trimtab.store.rows import run_row, study_row

RECIPE = Recipe(model="m", data="d", learning_rate=3e-4)
RUN = {"id": RECIPE.run_id, "study": None, "created": 1.0, "recipe": RECIPE.model_dump(mode="json"),
       "status": "STOPPED", "reason": "why", "cohort": None, "total_steps": 4, "result": {}}  # fmt: skip
STUDY = {"id": "s", "kind": "search", "created": 1.0, "status": "RUNNING", "seconds": 2.0,
         "asked": ASKED["search"].model_dump(mode="json"), "facts": {}}  # fmt: skip


def of(kind, row, **changes):
    return kind(SimpleNamespace(_mapping={**row, **changes}))


def test_a_run_is_typed_and_its_recipe_is_the_one_that_was_asked():
    run = of(run_row, RUN)
    assert (run.recipe, run.recipe.run_id, run.status) == (RECIPE, RUN["id"], Status.STOPPED)
    assert isinstance(run.status, Status)


@pytest.mark.parametrize("changes", [{"status": "PAUSED"}, {"recipe": {**RUN["recipe"], "rank": 8}}])
def test_what_no_trimtab_wrote_is_not_read_as_a_run(changes):
    with pytest.raises((ValueError, ValidationError)):
        of(run_row, RUN, **changes)


def test_a_study_has_the_record_of_its_kind():
    study = of(study_row, STUDY)
    assert study.asked == ASKED["search"]
    assert isinstance(study.facts, SearchFacts)
    with pytest.raises(ValidationError):
        of(study_row, STUDY, facts={"nothing_that_a_search_knows": 1})


@pytest.mark.parametrize(
    ("status", "works", "cut"),
    [
        pytest.param("RUNNING", owner.me(), False, id="ours"),
        ("RUNNING", None, True),
        ("RUNNING", "elsewhere/1/1", False),
        ("COMPLETE", None, False),
    ],
)
def test_cut_short_is_an_open_study_whose_worker_is_known_to_be_gone(status, works, cut):
    assert of(study_row, STUDY, status=status, facts={"owner": works}).cut_short is cut
