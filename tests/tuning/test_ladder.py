"""The walk of remedies on a trainer without a model: its order, where it stops, what it recommends, and that it may
recommend nothing."""

import re

import pytest

from tests.tuning.fake_trainer import FakeTrainer, desk_of
from trimtab.planning.remedies import places_of
from trimtab.spec.budget import Budget, Limit
from trimtab.spec.recipe import Recipe
from trimtab.tuning.ladder import Ladder, judged_at

RUN = Recipe(model="m", data="d", learning_rate=1e-3)
LIMIT = 0.1
BUDGET = Budget(name="mine", limits={"kl_generic": Limit(max=LIMIT)})
PLACES = places_of([f"model.layers.{i}.self_attn.q_proj" for i in range(4)])


class Moving(FakeTrainer):
    """Moves by rate and share of the adapter; `held`: what an anchor leaves of that; `gained`: items right of 20 by
    share; `judged` times what the tuning side says is what the card says."""

    held, judged = 1.0, 1.0

    def moved(self, recipe):
        return 0.15 * recipe.learning_rate / 1e-3 * recipe.adapter_scale * (self.held if recipe.anchored else 1.0)

    def side(self, recipe):
        return {"kl_generic": [self.moved(recipe)] * 36}

    def card(self, recipe, _level="card", **_how):
        value = self.moved(recipe) * self.judged
        verdict = "PASS" if value <= LIMIT else "FAIL"
        row = {
            "number": "kl_generic", "title": "Drift", "unit": "nats/token", "value": value, "below": value,
            "above": value, "verdict": verdict, "hard": True, "limit": {"max": LIMIT, "min": None},
        }  # fmt: skip
        return {"verdict": verdict, "rows": [row]}

    def gained(self, recipe):
        return round(16 * recipe.adapter_scale * min(1.0, recipe.learning_rate / 1e-3))

    def measure_task(self, recipes):
        right = {r.run_id: self.gained(r) for r in recipes}
        return {run: {"exact_match": [1.0] * n + [0.0] * (20 - n), "overlap": [0.5] * 20} for run, n in right.items()}


def walk(folder, recipe=RUN, seconds=None, kind=Moving, **changes):
    fake = type("Fake", (kind,), changes)
    desk = desk_of(folder, "inside", fake)
    desk.trainer.train([recipe.whole])
    return Ladder(desk, recipe, BUDGET, PLACES, seconds).run(), desk


def test_what_is_inside_already_is_left_alone(tmp_path):
    result, desk = walk(tmp_path, judged=0.1)
    assert result["rungs"] == []
    assert result["recommended"]["run"] == RUN.run_id
    assert "is inside mine as it is" in result["sentence"]
    assert desk.trainer.trained == [RUN.run_id]


def test_the_largest_share_that_is_well_inside_and_nothing_more_is_tried(tmp_path):
    result, desk = walk(tmp_path, gained=lambda _self, _recipe: 16)  # no share costs anything
    best = result["recommended"]
    assert best["recipe"]["adapter_scale"] == 0.3  # of 0.15 nats; 0.35 would be above half of the limit
    assert [r["name"] for r in result["rungs"]] == ["dose"]
    assert best["kept"] == 1.0
    assert [d["place"] for d in desk.store.decisions("s")] == ["inside: start", "inside: dose"]


def test_a_share_that_costs_too_much_sends_it_on_to_the_anchor(tmp_path):
    result, _ = walk(tmp_path, held=0.1)
    assert [r["name"] for r in result["rungs"]] == ["dose", "smaller steps", "anchor"]
    best = result["recommended"]
    assert best["recipe"]["kl_weight"] or best["recipe"]["replay_share"]
    assert best["kept"] == 1.0
    assert "keeps 100% of the gain" in result["sentence"]


def test_where_nothing_is_inside_nothing_is_recommended(tmp_path):
    result, desk = walk(tmp_path, judged=100.0)
    assert result["recommended"] is None
    assert [r["name"] for r in result["rungs"]] == ["dose", "smaller steps", "anchor", "where"]
    assert "nothing is recommended" in result["sentence"]
    assert "Nearest:" in result["sentence"]
    limit = float(re.search(r"it would be inside with kl_generic max ([\d.]+\d)", result["sentence"]).group(1))
    bounds = [r["numbers"]["kl_generic"]["above"] for rung in result["rungs"] for r in rung["rows"] if r["numbers"]]
    assert any(bound <= limit <= 1.1 * bound for bound in bounds)
    assert desk.row.status == "COMPLETE"


def test_the_card_has_the_last_word(tmp_path):
    """The tuning side says inside, the card does not: the remedy is not recommended, whatever it gains."""
    result, _ = walk(tmp_path, held=0.01, judged=100.0)
    anchored = next(r for r in result["rungs"] if r["name"] == "anchor")["rows"]
    assert all(r["side"]["kl_generic"] <= LIMIT / 2 for r in anchored)
    assert not any(r["inside"] for r in anchored)


@pytest.mark.parametrize("die_after", [1, 2, 5])
def test_killed_it_goes_on_and_ends_the_same(tmp_path, die_after):
    whole, _ = walk(tmp_path / "whole", held=0.1)
    fake = type("Fake", (Moving,), {"held": 0.1})
    begun = desk_of(tmp_path / "b", "inside", fake, die_after=die_after)
    begun.trainer.train([RUN])
    with pytest.raises(KeyboardInterrupt):
        Ladder(begun, RUN, BUDGET, PLACES).run()
    desk = desk_of(tmp_path / "b", "inside", fake)
    assert Ladder(desk, RUN, BUDGET, PLACES).run() == whole
    assert RUN.run_id not in desk.trainer.trained
    again = desk_of(tmp_path / "b", "inside", fake)
    assert Ladder(again, RUN, BUDGET, PLACES).run() == whole
    assert again.trainer.trained == []


def test_what_does_not_fit_into_the_time_is_said_with_its_price(tmp_path):
    result, _ = walk(tmp_path, seconds=24.0, held=0.1)
    notes = {r["name"]: r["note"] for r in result["rungs"]}
    assert notes["dose"] is None
    assert "it would take about" in notes["anchor"]
    assert "Not tried for lack of time: smaller steps, held to the base, in fewer places." in result["sentence"]
    longer, _ = walk(tmp_path, held=0.1)
    assert longer["recommended"]["kept"] == 1.0


def test_the_halves_of_the_probes_are_both_kept(tmp_path):
    result, _ = walk(tmp_path, held=0.1, judged=1.1)
    for row in [result["start"], *(r for rung in result["rungs"] for r in rung["rows"] if r["numbers"])]:
        assert row["numbers"]["kl_generic"]["value"] == pytest.approx(1.1 * row["side"]["kl_generic"])


def test_it_says_where_the_base_has_no_refusals_to_keep(tmp_path):
    side = lambda self, recipe: Moving.side(self, recipe) | {"refused_base": [0.0] * 25}  # noqa: E731
    result, _ = walk(tmp_path, held=0.1, side=side)
    assert "there are no refusals to keep" in result["sentence"]
    other, _ = walk(tmp_path / "b", held=0.1)
    assert "refusals" not in other["sentence"]


def test_a_remedy_may_gain_where_the_run_itself_does_not(tmp_path):
    gained = lambda _self, recipe: 12 if recipe.anchored else 0  # noqa: E731
    result, _ = walk(tmp_path, held=0.1, gained=gained)
    best = result["recommended"]
    assert (best["kept"], best["recipe"]["kl_weight"] or best["recipe"]["replay_share"]) != (None, 0)
    assert "The run itself gains nothing" in result["sentence"]


def test_an_earlier_checkpoint_that_was_inside_is_among_the_smaller_steps(tmp_path):
    result, _ = walk(tmp_path, held=0.1)
    smaller = next(r for r in result["rungs"] if r["name"] == "smaller steps")
    assert any("the checkpoint of step 50" in r["what"] for r in smaller["rows"])
    gone = lambda self, recipe, share: [9.0] * 30  # noqa: ARG005, E731
    none, _ = walk(tmp_path / "b", recipe=RUN.but(learning_rate=0.1), held=0.01, items=gone)  # its pulse is outside
    assert not any("checkpoint" in r["what"] for rung in none["rungs"] for r in rung["rows"])


def test_every_further_remedy_is_judged_by_wider_bounds():
    """So that a walk of any length calls something inside that lies at its limit in one of twenty at most."""
    row = {
        "title": "Drift", "unit": "nats/token", "value": 0.09, "below": 0.081, "above": 0.099, "verdict": "PASS",
        "hard": True, "limit": {"max": LIMIT, "min": None},
    }  # fmt: skip
    assert judged_at(row, 0) == row  # the run itself: as its card says
    looks = [judged_at(row, k) for k in (1, 2, 3)]
    assert [n["verdict"] for n in looks] == ["UNDECIDED"] * 3  # 97.5 % reach to 0.1007
    assert looks[0]["above"] == pytest.approx(0.09 + 0.009 * 1.95996 / 1.64485, abs=1e-5)
    assert looks[0]["above"] < looks[1]["above"] < looks[2]["above"]
    assert judged_at({**row, "value": None, "below": None, "above": None}, 2)["verdict"] == "PASS"  # nothing to widen


def test_looks_are_counted_over_the_steps_of_a_walk(tmp_path):
    result, _ = walk(tmp_path, judged=100.0)
    looks = [r["look"] for rung in result["rungs"] for r in rung["rows"] if r["numbers"]]
    assert sorted(looks) == list(range(1, len(looks) + 1))
    assert len(looks) > 3


def test_small_shares_are_looked_at_too(tmp_path):
    moved = lambda _self, r: 0.3 * r.adapter_scale  # noqa: E731
    result, _ = walk(tmp_path, moved=moved, gained=lambda _self, r: 16 if r.adapter_scale >= 0.1 else 0)
    assert result["recommended"]["recipe"]["adapter_scale"] == 0.15
    assert result["recommended"]["kept"] == 1.0


def test_a_limit_that_the_tuning_half_does_not_know_halves_the_share(tmp_path):
    def card(self, recipe, _level="card", **_how):
        row = Moving.card(self, recipe)["rows"][0] | {"number": "degeneration", "value": recipe.adapter_scale}
        verdict = "PASS" if recipe.adapter_scale <= 0.5 else "FAIL"
        limit = {"max": 0.5, "min": None}
        row |= {"below": row["value"], "above": row["value"], "verdict": verdict, "limit": limit}
        return {"verdict": verdict, "rows": [row]}

    side = lambda _self, r: {"kl_generic": [0.01 * r.adapter_scale] * 5}  # noqa: E731
    result, _ = walk(tmp_path, card=card, side=side, gained=lambda _self, _r: 16)
    dose = result["rungs"][0]["rows"]
    assert [r["side"]["kl_generic"] for r in dose] == pytest.approx([0.0045, 0.0095])  # each its own
    assert [(r["recipe"]["adapter_scale"], r["inside"]) for r in dose] == [(0.45, True), (0.95, False)]
    assert result["recommended"]["recipe"]["adapter_scale"] == 0.45


def test_what_is_not_shown_to_gain_is_not_recommended(tmp_path):
    result, _ = walk(tmp_path, held=0.1, gained=lambda _self, r: 16 if r == RUN else 1)
    assert any(r["inside"] for rung in result["rungs"] for r in rung["rows"])
    assert result["recommended"] is None
    assert "not shown to gain at the task, so nothing is recommended" in result["sentence"]
    inside, _ = walk(tmp_path / "b", judged=0.1, gained=lambda _self, _r: 0)
    assert inside["recommended"] is None
    assert "as it is: every hard limit passes; no gain at the task is shown" in inside["sentence"]


def test_an_earlier_checkpoint_is_never_the_run_s_own_best(tmp_path):
    class BestAtHalf(Moving):
        def finish(self, recipe, *how):
            super().finish(recipe, *how)
            self.store.update_run(recipe.run_id, result={"best_step": 50})

    result, _ = walk(tmp_path, kind=BestAtHalf, held=0.1)
    assert not any("checkpoint" in r["what"] for rung in result["rungs"] for r in rung["rows"])


def test_without_any_time_it_does_not_say_that_something_was_tried(tmp_path):
    result, _ = walk(tmp_path, seconds=1.0, held=0.1)
    assert result["sentence"].startswith("There was no time to try anything")


def test_where_no_share_of_anything_is_well_inside_only_the_untouched_model_is(tmp_path):
    result, _ = walk(tmp_path, moved=lambda _self, r: 5.0 if r.kl_weight else 9.0)
    assert (
        "only the untouched model keeps this budget. Nearest there: kl_weight 1 whole, kl_generic 5."
        in result["sentence"]
    )
    assert all(r["run"] is None for rung in result["rungs"] for r in rung["rows"])


def test_what_no_remedy_could_measure_is_not_walked(tmp_path):
    def card(self, recipe, _level="card", **_how):
        row = Moving.card(self, recipe)["rows"][0] | {"value": None, "below": None, "above": None}
        why = "99% of the base's own answers are degenerate"
        return {"verdict": "NOT MEASURED", "rows": [row | {"verdict": "NOT MEASURED", "missing": why, **lasting}]}

    lasting = {"lasting": False}  # the run's own answers have come apart: a remedy's may not
    assert walk(tmp_path / "this run", card=card)[0]["rungs"]
    lasting = {"lasting": True}
    result, desk = walk(tmp_path / "the base", card=card)
    assert result["rungs"] == []
    assert "cannot be judged" in result["sentence"]
    assert "99% of the base's own answers are degenerate" in result["sentence"]
    assert desk.trainer.trained == [RUN.run_id]


def test_a_gain_that_is_not_shown_is_said_to_be_so(tmp_path):
    result, desk = walk(tmp_path, gained=lambda _self, _r: 1)
    told = next(d["sentence"] for d in desk.store.decisions(desk.study) if d["place"] == "inside: start")
    assert "Its own gain at the task is not shown: gain +5.0%" in told
    assert result["recommended"] is None
