import math

import pytest

from tests.sentences import unexplained
from tests.tuning.fake_trainer import ASKED, FakeTrainer, desk_of
from trimtab.errors import SpecError
from trimtab.spec.status import Status
from trimtab.tuning.choice import MARGIN
from trimtab.tuning.coach import Coach
from trimtab.tuning.desk import Desk
from trimtab.tuning.time_left import SEEDS


def study(folder, seconds=None, own=(), also=(), **trainer):
    desk = desk_of(folder, "tune", **trainer)
    return Coach(desk, seconds, dict(own), also), desk.store, desk.trainer, desk.said


def places(store):
    return [d["place"] for d in store.decisions("s")]


def test_it_walks_rate_batch_epochs_seeds_and_recommends(tmp_path):
    coach, store, _, said = study(tmp_path, best_rate=1e-3)
    result = coach.run()
    assert places(store) == ["plan", "learning_rate", "batch", "epochs", "seeds", "recommendation"]
    assert result["recipe"]["learning_rate"] == pytest.approx(1e-3, rel=0.8)
    assert (result["confirmed"], len(result["runs"]), result["verdict"]) == (True, 3, "PASS")
    assert result["gain"]["low"] > 0
    assert store.study("s").status == Status.COMPLETE
    assert len(said) == len(set(said))
    assert all(
        "." in sentence
        for sentence in said
        if sentence.startswith(("Start", "learning_rate", "Confirm", "Recommended", "Nothing"))
    )


@pytest.mark.parametrize(
    "how",
    [
        {"best_rate": 1e-3},
        {"best_rate": 0.02},
        {"best_rate": 1e-2, "breach_above": 7e-4},
        {"seconds": 400},
        {"also": ("rank", "decay")},
    ],
)
def test_every_number_of_every_sentence_is_what_was_stored(tmp_path, how):
    coach, store, _, said = study(tmp_path, **how)
    coach.run()
    facts = store.study("s").facts.model_dump(mode="json")
    decided = store.decisions("s")
    for d in decided:
        seeds = len(d["evidence"].get("runs", [0])) - 1
        confirming = d["evidence"]["seeds"] if d["place"] == "seeds" else 0
        known = [MARGIN, seeds, SEEDS - confirming, how.get("seconds", 0) / 60]
        plan, sizes = facts["plan"], [r.recipe.effective_batch for r in store.runs()]
        assert unexplained(d["sentence"], d["evidence"], plan, sizes, constants=known) == [], d["sentence"]
    others = [s for s in said if s not in {d["sentence"] for d in decided}]
    runs = [r.recipe.model_dump(mode="json") for r in store.runs()]
    for sentence in others:
        assert unexplained(sentence, facts, runs, constants=[5]) == [], sentence


def test_the_scan_is_extended_while_the_best_is_at_its_edge(tmp_path):
    coach, store, _, said = study(tmp_path, best_rate=0.02)
    coach.run()
    rates = {r.recipe.learning_rate for r in store.runs()}
    assert max(rates) > 9 * min(rates)
    assert any("edge of the scan: trying" in s for s in said)


def test_a_rate_that_is_far_behind_is_stopped_early(tmp_path):
    coach, store, _, _ = study(tmp_path, best_rate=5e-3)
    coach.run()
    assert any(r.status == Status.STOPPED and "far behind" in r.reason for r in store.runs())


def test_nothing_outside_the_budget_is_recommended(tmp_path):
    coach, store, _, _ = study(tmp_path, best_rate=1e-2, breach_above=7e-4)
    result = coach.run()
    assert result["recipe"]["learning_rate"] <= 7e-4
    assert "(outside the budget)" in next(d["sentence"] for d in store.decisions("s") if d["place"] == "learning_rate")


def test_the_users_own_settings_are_not_searched(tmp_path):
    coach, store, _, _ = study(tmp_path, own={"learning_rate": 5e-4, "num_train_epochs": 2.0})
    result = coach.run()
    assert "learning_rate" not in places(store)
    assert "epochs" not in places(store)
    assert result["recipe"]["num_train_epochs"] == 2.0


@pytest.mark.parametrize("seconds", [100, 200, 400, 800])
def test_time_is_kept_and_what_is_skipped_is_said(tmp_path, seconds):
    coach, store, trainer, said = study(tmp_path, seconds=seconds)
    coach.run()
    assert trainer.clock.now <= seconds * 1.25
    if seconds <= 200:
        assert any(s.startswith("Skipped for lack of time") for s in said)
    assert store.study("s").seconds == trainer.clock.now


@pytest.mark.parametrize("die_after", range(9))
def test_killed_anywhere_it_ends_the_same(tmp_path, die_after):
    undisturbed, whole, _, _ = study(tmp_path / "a")
    wanted = undisturbed.run()
    coach, store, first, _ = study(tmp_path / "b", die_after=die_after)
    with pytest.raises(KeyboardInterrupt):
        coach.run()
    again, store, second, _ = study(tmp_path / "b")
    assert again.run() == wanted
    assert not set(first.trained) & set(second.trained)  # nothing finished is done twice
    assert [d["sentence"] for d in store.decisions("s")] == [d["sentence"] for d in whole.decisions("s")]


def test_one_seed_is_not_called_confirmed(tmp_path):
    coach, _, _, said = study(tmp_path, seconds=10)
    result = coach.run()
    assert not result["confirmed"]
    assert any("not confirmed" in s for s in said)
    if len(result["runs"]) == 1:
        assert result["gain"]["low"] is None or math.isinf(result["gain"]["low"])


def test_when_no_rate_stays_inside_lower_ones_are_tried_and_then_it_says_so(tmp_path):
    coach, store, _, said = study(tmp_path / "a", breach_above=2e-5)
    assert coach.run()["recipe"]["learning_rate"] <= 2e-5
    assert any(s.startswith("No rate stayed inside the budget: trying") for s in said)
    coach, store, _, said = study(tmp_path / "b", breach_above=0.0)
    result = coach.run()
    assert places(store) == ["plan", "learning_rate", "recommendation"]  # nothing else could be recommended
    assert any("No learning_rate stayed inside the budget" in s for s in said)
    assert not result["confirmed"]
    again, _, trainer, _ = study(tmp_path / "b", breach_above=0.0)
    assert again.run() == result
    assert trainer.trained == []


def test_the_users_rate_is_kept_when_other_batches_are_tried(tmp_path):
    coach, store, _, _ = study(tmp_path, own={"learning_rate": 5e-4})
    coach.run()
    assert {r.recipe.learning_rate for r in store.runs()} == {5e-4}
    assert len({r.recipe.effective_batch for r in store.runs()}) == 3


def test_too_little_time_for_one_run_is_said_before_any_training(tmp_path):
    coach, store, _, _ = study(tmp_path, seconds=5)
    with pytest.raises(
        SpecError, match=r"5 seconds are too short: one run and its card take about [\d.]+ seconds here"
    ):
        coach.run()
    assert store.runs() == []


def test_what_no_machine_could_keep_is_refused_before_anything_runs(tmp_path):
    class Slow(FakeTrainer):
        def flops(self):
            return 1e11  # 10^8 parameters: 500 units of size a second

        def measure_base(self, _recipe):
            raise AssertionError("something ran")

    desk = desk_of(tmp_path, "tune", Slow)
    with pytest.raises(SpecError, match=r"30 seconds are too short: .* more than 74 seconds here"):
        Coach(desk, 30, {}).run()
    assert desk.store.runs() == []


def test_where_the_scan_does_not_fit_the_rule_is_taken_and_that_is_said(tmp_path):
    coach, store, _, said = study(tmp_path, seconds=20)
    coach.run()
    assert len({r.recipe.learning_rate for r in store.runs()}) == 1
    assert any(s.startswith("Skipped for lack of time") and "were not compared" in s for s in said)


@pytest.mark.parametrize("seconds", [18, 22, 26, 30, 34, 38, 42])
def test_where_no_rates_were_compared_the_first_seed_takes_time_too(tmp_path, seconds):
    coach, _, trainer, said = study(tmp_path, seconds=seconds)
    coach.run()
    if any("were not compared" in s for s in said):
        assert trainer.clock.now <= seconds * 1.1


def test_every_seed_counts_where_none_chose_anything(tmp_path):
    coach, _, _, _ = study(tmp_path / "a", seconds=50)
    result = coach.run()
    assert result["gain"]["n"] == len(result["runs"]) >= 3
    coach, _, _, _ = study(tmp_path / "b", seconds=400)
    result = coach.run()
    assert result["gain"]["n"] == len(result["runs"]) - 1


def test_time_that_is_left_buys_more_seeds(tmp_path):
    coach, _, trainer, _ = study(tmp_path / "a", seconds=1500, own={"num_train_epochs": 1.0})
    assert len(coach.run()["runs"]) == 5
    assert trainer.clock.now <= 1500
    coach, _, _, _ = study(tmp_path / "b")
    assert len(coach.run()["runs"]) == 3  # without a limit nothing is spent that was not asked for


def test_a_given_number_of_steps_is_kept_and_timed(tmp_path):
    coach, store, _, said = study(tmp_path, seconds=300, own={"max_steps": 25})
    result = coach.run()
    assert {r.recipe.max_steps for r in store.runs()} == {25}
    assert "25 steps" in next(s for s in said if s.startswith("Start"))
    assert "epochs" not in places(store)
    assert result["recipe"]["max_steps"] == 25


def test_the_users_patience_is_kept_when_a_longer_run_is_tried(tmp_path):
    coach, store, _, _ = study(tmp_path, own={"early_stopping_patience": 4})
    coach.run()
    assert {r.recipe.early_stopping_patience for r in store.runs()} == {4}


def test_the_last_possible_seed_wraps_around(tmp_path):
    coach, store, _, _ = study(tmp_path, own={"seed": 2**31 - 1})
    coach.run()
    assert {r.recipe.seed for r in store.runs()} == {2**31 - 1, 0, 1}


def test_a_run_that_another_study_had_stopped_is_trained_to_its_end(tmp_path):
    coach, store, _, _ = study(tmp_path, best_rate=1e-3)
    coach.run()
    beaten = next(r.recipe for r in store.runs() if r.result["cause"] == "RACE")
    own = beaten.model_dump(exclude={"model", "data", "method", "fingerprint"})
    store.open_study(ASKED["tune"], "t")
    fake = FakeTrainer(store, "t")
    result = Coach(Desk(fake, fake, store, "t", lambda _text: None), None, own).run()
    assert beaten.run_id in result["runs"]
    assert result["confirmed"]


def test_a_refusal_is_timed_again_the_next_time(tmp_path):
    coach, store, _, _ = study(tmp_path, seconds=40)
    coach.desk.local.seconds_per_size = lambda _recipe: 1.0  # a very bad moment
    with pytest.raises(SpecError, match="too short"):
        coach.run()
    assert store.study("s").seconds == 0
    again, _, _, _ = study(tmp_path, seconds=40)
    assert again.run()["recipe"]


def test_the_risks_of_the_start_are_said_before_anything_is_trained(tmp_path):
    coach, store, _, said = study(tmp_path, own={"num_train_epochs": 8.0, "weight_decay": 0.0, "lora_dropout": 0.0})
    coach.run()
    named = store.study("s").facts.couplings
    assert "epochs-few-data" in {c["id"] for c in named}
    risks = [i for i, text in enumerate(said) if text.startswith("A risk of this start")]
    start = next(i for i, text in enumerate(said) if text.startswith("Start: "))
    assert risks == list(range(start + 1, start + 1 + len(named)))


def test_rank_and_decay_are_tried_on_request_after_the_epochs(tmp_path):
    coach, store, _, _ = study(tmp_path, also=("rank", "decay"))
    result = coach.run()
    assert places(store) == ["plan", "learning_rate", "batch", "epochs", "rank", "decay", "seeds", "recommendation"]
    tried = {r.recipe.r: r.recipe.lora_alpha / r.recipe.r for r in store.runs()}
    assert len(tried) == 3
    assert len(set(tried.values())) == 1  # the update keeps its scale
    assert len({r.recipe.weight_decay for r in store.runs()}) == 3
    assert result["confirmed"]


def test_without_time_for_them_it_says_so(tmp_path):
    own = {"learning_rate": 1e-3, "num_train_epochs": 1.0, "per_device_train_batch_size": 4}
    coach, *_, said = study(tmp_path, seconds=90, own=own, also=("rank", "decay"))
    coach.run()
    assert any("weight_decay 0.01 and 0.1 were not tried" in s for s in said)
