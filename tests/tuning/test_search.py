"""The search without a model: what does not fit is not started, and somebody always comes to the end if anybody can."""

import pytest

from tests.tuning.fake_trainer import BASE, FakeTrainer, desk_of
from trimtab.errors import SpecError
from trimtab.planning.space import Dimension
from trimtab.spec.budget import Budget
from trimtab.spec.status import Status
from trimtab.tuning.search import Search

SPACE = (Dimension("learning_rate", low=1e-5, high=1e-1, log=True),)


def search(folder, sampler="random", trials=8, trainer=FakeTrainer, **how):
    """(the search, its desk)"""
    options = {k: how.pop(k) for k in ("screen", "race") if k in how}
    desk = desk_of(folder, "search", trainer, **how)
    return Search(desk, BASE, SPACE, sampler, trials, None, Budget(), **options), desk


class Small(FakeTrainer):
    """A machine on which rates above 0.01 do not fit: a stand-in for whatever takes memory."""

    def forecaster(self):
        class Answer:
            used = 2**40

            def __init__(self, fits):
                self.fits = fits

        def ask(workload):
            if workload.per_device_train_batch_size == 16:
                raise SpecError("the workload", ["16 is what this model cannot do at all"])
            return Answer(workload.per_device_train_batch_size < 8)

        return ask


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid", "cmaes", "nsga2"])
def test_it_finds_a_rate_near_the_best(tmp_path, sampler):
    made, _ = search(tmp_path, sampler, trials=12)
    found = made.run()
    assert 1e-4 < found["best"]["params"]["learning_rate"] < 1e-2
    assert found["best"]["run"] in found["front"]


def test_without_a_race_every_trial_comes_to_its_end(tmp_path):
    for race in (True, False):
        made, desk = search(tmp_path / str(race), "grid", race=race)
        made.space = (Dimension("learning_rate", values=(1e-5, 1e-3, 1e-1)),)
        made.trials = 3
        made.run()
        assert (Status.STOPPED in {r.status for r in desk.store.runs()}) == race


def test_a_part_of_a_grid_is_no_corner_of_it(tmp_path):
    made, desk = search(tmp_path, "grid", trials=4)
    made.space = (Dimension("learning_rate", values=(1e-4, 3e-4, 1e-3)), Dimension("r", values=(2, 4, 8)))
    made.points, made.trials = 9, 4
    found = made.run()
    assert len({t["params"]["learning_rate"] for t in found["trials"]}) > 1
    assert any("4 trials of the grid's 9 points, at random" in s for s in desk.said)


def test_losers_go_on_where_nobody_else_ends_inside(tmp_path):
    """The best rate breaks down at the end; the one that had lost to it is better than nothing."""
    made, desk = search(tmp_path, "grid", best_rate=1e-3, breach_above=5e-4)
    made.space = (Dimension("learning_rate", values=(1e-4, 1e-3)),)
    made.trials = 2
    found = made.run()
    assert found["best"]["params"]["learning_rate"] == 1e-4
    assert any("goes on where it was stopped" in s for s in desk.said)
    assert desk.store.run(found["best"]["run"]).status == Status.COMPLETE


def test_a_screen_is_asked_once_and_drops_half(tmp_path):
    class Screening(FakeTrainer):
        def screen(self, recipes):
            self.looked = [*getattr(self, "looked", []), *(r.run_id for r in recipes)]
            return [self.loss(r) for r in recipes]

    made, desk = search(tmp_path, trials=8, trainer=Screening, screen=True)
    found = made.run()
    assert len(desk.trainer.looked) == len(set(desk.trainer.looked)) == 8
    assert found["screened"] == 4
    assert len(desk.store.runs()) == 4


def test_what_does_not_fit_is_never_started(tmp_path):
    made, desk = search(tmp_path, "grid", trials=4, trainer=Small)
    made.space = (Dimension("per_device_train_batch_size", values=(2, 4, 8, 16)),)
    made.base, made.trials = BASE.but(per_device_train_batch_size=2), 4
    made.run()
    assert {r.recipe.per_device_train_batch_size for r in desk.store.runs()} == {2, 4}
    assert any("by the forecast, more than there is" in s for s in desk.said)
    assert any("cannot be run: the workload: 16 is what" in s for s in desk.said)
