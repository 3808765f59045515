"""A designed study without a model."""

from statistics import fmean

import pytest

from tests.tuning.fake_trainer import BASE, FakeTrainer, desk_of
from trimtab.errors import PlanError
from trimtab.planning import design
from trimtab.tuning import study_sentences
from trimtab.tuning.designed_study import DesignedStudy
from trimtab.tuning.study_evidence import attributed, curves, numbers_of


class Carding(FakeTrainer):
    """Its cards say one thing: how far the rate is from the best."""

    def card(self, recipe, level="card", **_how):
        row = {"number": "assertiveness", "value": recipe.learning_rate * 100}
        self.store.save_card(recipe.run_id, {}, {"rows": [row, {"number": "brier", "value": None}]})
        self.levels = [*getattr(self, "levels", []), level]
        return {"rows": [row]}


def inquiry(folder, made, trainer=FakeTrainer, **how):
    desk = desk_of(folder, "scan", trainer)
    return DesignedStudy(desk, made, False, **how), desk.store, desk.trainer


def test_cards_of_every_run_are_attributed_too(tmp_path):
    made = design.factorial(BASE, {"learning_rate": [3e-4, 3e-3], "r": [4, 16]}, 2)
    asked, store, trainer = inquiry(tmp_path, made, Carding, cards="short")
    asked.run()
    assert trainer.levels == ["short"] * len(made.recipes())
    rows = {r["number"]: r for r in attributed(store, store.study("s"))["rows"]}
    assert "brier" not in rows  # what could not be measured is no zero
    shares = {" × ".join(s["names"]): s["value"] for s in rows["assertiveness"]["shares"]}
    assert shares["learning_rate"] > 0.8
    run = store.runs("s")[0]
    assert numbers_of(store, run)["assertiveness"] == pytest.approx(run.recipe.learning_rate * 100)


def test_settings_that_always_moved_together_come_with_the_run_that_tells_them_apart(tmp_path):
    made = design.batch(BASE, [4, 32], "sqrt", 2)
    asked, store, _ = inquiry(tmp_path, made)
    asked.run()
    assert store.study("s").facts.result["moved"] == ["learning_rate"]  # and steps, of real runs
    found = attributed(store, store.study("s"))
    (run,) = found["next"]
    assert set(run["pair"]) == {"learning_rate", "effective_batch"}
    tried = {(r.recipe.learning_rate, r.recipe.effective_batch) for r in store.runs("s")}
    assert (run["settings"]["learning_rate"], run["settings"]["effective_batch"]) not in tried


def test_curves_join_the_seeds_of_a_recipe(tmp_path):
    asked, store, _ = inquiry(tmp_path, design.scan(BASE, {"learning_rate": [1e-2]}, 3))
    asked.run()
    found = curves(store, store.study("s"))
    assert len(found) == 2
    for curve in found:
        assert [p["seeds"] for p in curve["points"]] == [3, 3]
        assert all(p["low"] <= p["mean"] <= p["high"] for p in curve["points"])


def test_a_best_at_the_edge_says_where_to_go_on(tmp_path):
    made = design.scan(BASE, {"learning_rate": [1e-5, 1e-4]}, 2)
    asked, *_ = inquiry(tmp_path, made)
    told = asked.run()["sentence"]
    assert (
        "learning_rate 0.001 is the highest tried and the best may lie beyond: extend with learning_rate=0.01" in told
    )
    asked, *_ = inquiry(tmp_path / "b", design.scan(BASE, {"learning_rate": [1e-4, 1e-2]}, 2))
    assert "beyond" not in asked.run()["sentence"]


def test_what_left_the_budget_is_said_so():
    gone = {
        "cell": "learning_rate 0.01",
        "mean": None,
        "breach": ["kl_generic above 0.1"],
        "against": None,
        "changed": {},
        "at": {},
    }
    here = {**gone, "cell": "as it is", "mean": 1.0, "breach": []}
    told = study_sentences.sentence("scan", [here, gone], None, None, None, "nats/token")
    assert "Stopped, outside the budget: learning_rate 0.01" in told


def test_a_factorial_answers_how_much_each_matters(tmp_path):
    asked, *_ = inquiry(tmp_path, design.factorial(BASE, {"learning_rate": [1e-4, 1e-3], "r": [4, 16]}, 2))
    found = asked.run()
    assert found["sentence"].startswith("validation loss: learning_rate 9")
    assert all(c["interval"]["low"] <= c["mean"] <= c["interval"]["high"] for c in found["cells"])


def test_a_repeat_holds_the_gain_against_the_noise(tmp_path):
    asked, _, trainer = inquiry(tmp_path, design.repeat(BASE, 3))
    found = asked.run()
    assert found["gain"]["value"] == pytest.approx(found["cells"][0]["mean"] - fmean(trainer.untouched(BASE)))
    sd = found["stability"]["sd"]
    assert f"Better than the untouched model: {found['gain']['value']:+.3f} [" in found["sentence"]
    assert f"{-found['gain']['value'] / sd:.0f} times the SD of a seed." in found["sentence"]
    asked, *_ = inquiry(tmp_path / "b", design.repeat(BASE, 1))
    assert "untouched" not in asked.run()["sentence"]  # one seed claims nothing


def test_nothing_that_fits(tmp_path):
    class Full(FakeTrainer):
        def forecaster(self):
            return lambda _workload: type("Answer", (), {"fits": False, "used": 2**40})

    asked, store, _ = inquiry(tmp_path, design.repeat(BASE, 2), Full)
    with pytest.raises(PlanError, match="nothing of this study fits"):
        asked.run()
    assert store.runs("s") == []
