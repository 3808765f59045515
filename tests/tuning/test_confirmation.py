"""The end of a tune on a trainer without a model: a recommendation that is outside its budget is brought inside where
that is possible and there is time, and confirmed like anything else."""

import pytest

from tests.sentences import unexplained
from tests.tuning.fake_trainer import ASKED, desk_of
from tests.tuning.test_ladder import BUDGET, RUN, Moving
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Cause, Status
from trimtab.tuning.coach import Coach
from trimtab.tuning.summary import reasons

OWN = {"learning_rate": 1e-3, "num_train_epochs": 1.0, "per_device_train_batch_size": 8}
ANCHORED = {"held": 0.1}


def tuned(folder, monkeypatch, seconds=None, die_after=None, walks=True, **changes):
    """(coach, store, trainer, what was said) of a tune whose settings are given, so that it begins at its end."""
    monkeypatch.setitem(ASKED, "tune", ASKED["tune"].model_copy(update={"budget": BUDGET}))
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    fake = type("Fake", (Leaving,), changes)
    desk = desk_of(folder, "tune", fake, die_after=die_after)
    coach = Coach(desk, seconds, OWN, free=(lambda: desk.trainer) if walks else None)
    return coach, desk.store, desk.trainer, desk.said


class Leaving(Moving):
    """Leaves a folder of weights behind, from which places are read."""

    def finish(self, recipe, *how):
        super().finish(recipe, *how)
        (self.store.folder / "runs" / recipe.run_id / "best").mkdir(parents=True, exist_ok=True)


def places(store):
    return [d["place"] for d in store.decisions("s")]


def test_what_is_outside_is_brought_inside_and_confirmed(tmp_path, monkeypatch):
    coach, store, _, said = tuned(tmp_path, monkeypatch, **ANCHORED)
    result = coach.run()
    assert places(store)[-7:] == [
        "seeds", "inside: start", "inside: dose", "inside: smaller steps", "inside: anchor", "inside: seeds",
        "recommendation",
    ]  # fmt: skip
    assert (result["standing"], result["verdict"], result["confirmed"]) == ("recommended", "PASS", True)
    assert result["recipe"]["kl_weight"] or result["recipe"]["replay_share"]
    assert result["free"]["verdict"] == "FAIL"
    assert result["inside"]["recommended"]["run"] in result["runs"]
    assert "Without the remedy: gain" in said[-1]
    assert store.study("s").status == Status.COMPLETE


def test_the_recipe_says_why_it_is_held(tmp_path, monkeypatch):
    coach, store, _, _ = tuned(tmp_path, monkeypatch, **ANCHORED)
    recipe = Recipe.model_validate(coach.run()["recipe"])
    said = reasons(recipe, [], store.decisions("s"))
    held = {k for k in ("kl_weight", "replay_share", "adapter_scale") if getattr(recipe, k) != getattr(RUN, k)}
    assert held == {k for k, why in said.items() if why.startswith("a remedy, to stay inside the budget: Held to")}


def test_the_card_is_of_a_seed_that_the_walk_has_not_judged(tmp_path, monkeypatch):
    coach, _, _, _ = tuned(tmp_path, monkeypatch, **ANCHORED)
    result = coach.run()
    assert result["run"] != result["inside"]["recommended"]["run"]
    assert {s["seed"] for s in result["seeds"]} == {s["seed"] for s in result["free"]["seeds"]}


def test_another_seed_that_is_outside_takes_the_recommendation_away(tmp_path, monkeypatch):
    class OneSeed(Leaving):
        def moved(self, recipe):
            median = recipe.seed == RUN.seed + 1
            return super().moved(recipe) * (1.0 if median or not recipe.anchored else 30.0)

    monkeypatch.setattr("tests.tuning.test_confirmation.Leaving", OneSeed)
    coach, _, _, said = tuned(tmp_path, monkeypatch, **ANCHORED)
    result = coach.run()
    assert result["inside"]["recommended"]
    assert result["standing"] == "outside"
    assert said[-1].startswith("Nothing is recommended inside this budget")


def test_what_is_inside_is_left_alone(tmp_path, monkeypatch):
    coach, store, _, _ = tuned(tmp_path, monkeypatch, judged=0.1)
    result = coach.run()
    assert places(store)[-2:] == ["seeds", "recommendation"]
    assert "inside" not in result


def test_where_nothing_brings_it_inside_nothing_is_recommended(tmp_path, monkeypatch):
    coach, _, _, said = tuned(tmp_path, monkeypatch, judged=100.0)
    result = coach.run()
    assert result["standing"] == "outside"
    assert result["inside"]["recommended"] is None
    assert "free" not in result
    assert "no remedy that was tried brings it inside" in said[-1]


def test_without_time_it_says_what_a_way_inside_would_cost(tmp_path, monkeypatch):
    coach, store, trainer, said = tuned(tmp_path, monkeypatch, seconds=100, **ANCHORED)
    result = coach.run()
    assert "inside: start" not in places(store)
    assert "looking for a way inside would take about" in said[-1]
    assert result["inside"]["price"] > 100
    assert trainer.clock.now <= 100


def test_with_some_time_the_rungs_that_fit_are_walked_and_the_others_named(tmp_path, monkeypatch):
    coach, _, trainer, said = tuned(tmp_path, monkeypatch, seconds=210, **ANCHORED)
    result = coach.run()
    assert [bool(r["note"]) for r in result["inside"]["rungs"]] == [False, True, True, True]
    assert "there was no time for smaller steps, held to the base, in fewer places: trimtab inside" in said[-1]
    assert trainer.clock.now <= 210


@pytest.mark.parametrize("die_after", [1, 3, 5, 8, 10])
def test_killed_anywhere_it_ends_the_same(tmp_path, monkeypatch, die_after):
    undisturbed, whole, _, _ = tuned(tmp_path / "a", monkeypatch, **ANCHORED)
    wanted = undisturbed.run()
    coach, _, first, _ = tuned(tmp_path / "b", monkeypatch, die_after=die_after, **ANCHORED)
    with pytest.raises(KeyboardInterrupt):
        coach.run()
    again, store, second, _ = tuned(tmp_path / "b", monkeypatch, **ANCHORED)
    assert again.run() == wanted
    assert not set(first.trained) & set(second.trained)
    assert [d["sentence"] for d in store.decisions("s")] == [d["sentence"] for d in whole.decisions("s")]


def test_a_study_that_ended_without_remedies_stays_as_it_is(tmp_path, monkeypatch):
    coach, _, _, _ = tuned(tmp_path, monkeypatch, walks=False, **ANCHORED)
    before = coach.run()
    again, _, trainer, _ = tuned(tmp_path, monkeypatch, **ANCHORED)
    assert again.run() == before
    assert trainer.trained == []


def test_every_number_of_its_sentences_is_what_was_stored(tmp_path, monkeypatch):
    coach, store, _, _ = tuned(tmp_path, monkeypatch, **ANCHORED)
    coach.run()
    for d in store.decisions("s"):
        if d["place"].startswith("inside: ") or d["place"] == "recommendation":
            known = [len(d["evidence"].get("runs", [0])) - 1]
            assert unexplained(d["sentence"], d["evidence"], constants=known) == [], d["sentence"]


class Guarded(Leaving):
    """Its tune stops whoever leaves the budget half-way, and goes on with nobody; the trainer of remedies does not."""

    guard = True

    def finish(self, recipe, status, reason, cause):
        out = self.guard and not recipe.anchored
        super().finish(recipe, *((Status.STOPPED, "outside", Cause.BUDGET) if out else (status, reason, cause)))

    def train(self, recipes, race=None, reopen=False):
        for r in recipes:
            row = self.store.add_run(r, self.study)
            if not self.guard and row.result.get("cause") == Cause.BUDGET:  # nothing but a guard keeps it from going on
                self.store.go_on(row.id)
        return super().train(recipes, race, reopen)


@pytest.mark.parametrize("die_after", [None, 4, 6, 8])
def test_a_run_that_the_budget_had_stopped_stays_as_it_was_judged(tmp_path, monkeypatch, die_after):
    """The walk works beside it: what was chosen, carded and said of it stays true, also after a kill."""
    monkeypatch.setattr("tests.tuning.test_confirmation.Leaving", Guarded)

    def walked(folder, die_after=None):
        coach, store, trainer, _ = tuned(folder, monkeypatch, die_after=die_after, **ANCHORED)
        free = type(trainer)(store, "s", clock=trainer.clock, die_after=die_after)
        free.guard = False
        coach.free = lambda: free
        return coach, store, free

    coach, store, free = walked(tmp_path / "a")
    wanted = coach.run()
    stopped = {s["run"] for s in wanted["free"]["seeds"]}
    assert not stopped & set(free.trained)
    assert all(store.run(run).result["cause"] == Cause.BUDGET for run in stopped)
    if die_after:
        again, _, _ = walked(tmp_path / "b", die_after=die_after)
        with pytest.raises(KeyboardInterrupt):
            again.run()
        last, _, _ = walked(tmp_path / "b")
        assert last.run() == wanted


def test_a_second_call_gives_the_price_again(tmp_path, monkeypatch):
    coach, _, _, _ = tuned(tmp_path, monkeypatch, seconds=100, **ANCHORED)
    first = coach.run()
    again, _, _, _ = tuned(tmp_path, monkeypatch, seconds=100, **ANCHORED)
    assert again.run() == first
    assert first["inside"]["price"] > 100


def test_the_hint_names_budget_and_folder(tmp_path, monkeypatch):
    typed = "trimtab tune m d --budget 'my limits.yaml' --time 2m --out elsewhere r=8"
    monkeypatch.setitem(ASKED, "tune", ASKED["tune"].model_copy(update={"command": typed}))
    coach, _, _, said = tuned(tmp_path, monkeypatch, seconds=100, **ANCHORED)
    run = coach.run()["run"]
    assert f"trimtab inside {run} --budget 'my limits.yaml' --out elsewhere" in said[-1]


def test_no_further_seeds_are_spent_on_what_is_outside(tmp_path, monkeypatch):
    coach, _, _, _ = tuned(tmp_path / "a", monkeypatch, seconds=2000, walks=False, **ANCHORED)
    assert len(coach.run()["runs"]) == 3
    coach, _, _, _ = tuned(tmp_path / "b", monkeypatch, seconds=2000, walks=False, judged=0.1)
    assert len(coach.run()["runs"]) == 5
