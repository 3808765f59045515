import json
import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Cause, Status
from trimtab.store import Store
from trimtab.tuning.choice import Outcome, choose, still_falling
from trimtab.tuning.race import Race, clearly_worse

BASE = Recipe(model="m", data="d")
NOISE = [random.Random(3).gauss(0, 0.2) for _ in range(40)]


def items(level, jitter=0):
    """Losses around `level` that go up and down with the same items; `jitter` adds noise of their own."""
    own = random.Random(jitter)
    return tuple(level + n + (own.gauss(0, 0.1) if jitter else 0) for n in NOISE)


def test_a_clearly_worse_rate_is_stopped_with_its_evidence():
    stops = clearly_worse(0.5, {"a": items(1.0), "b": items(2.0, 1)}, {})
    assert set(stops) == {"b"}
    assert "40 paired items" in stops["b"]


def test_early_on_only_a_wide_gap_counts():
    close = {"a": items(1.0), "b": items(1.15, 1)}
    assert clearly_worse(0.9, close, {}) == {}  # seeds of one recipe are as far apart
    wider = {"a": items(1.0), "b": items(1.4, 1)}
    assert clearly_worse(0.25, {"a": items(1.0), "b": items(3.0, 1)}, {}) == {}  # ranks still cross
    assert clearly_worse(0.5, wider, {}) == {}
    assert set(clearly_worse(0.9, wider, {})) == {"b"}


def test_finished_rivals_count_and_nobody_is_stopped_at_the_end():
    assert set(clearly_worse(0.5, {"a": items(2.0)}, {"old": items(1.0, 1)})) == {"a"}
    assert clearly_worse(1.0, {"a": items(1.0), "b": items(3.0)}, {}) == {}


def test_with_two_aims_only_a_rival_that_drifted_no_further_may_stop_a_run(tmp_path):
    store = Store(tmp_path)
    running = {}
    for seed, level, drift in ((1, 1.0, 0.5), (2, 2.0, 0.01), (3, 2.0, 0.9)):
        run = store.add_run(BASE.but(seed=seed)).id
        store.log_evaluation(run=run, step=1, share=0.5, loss=level, items=items(level), pulse={"kl_pulse": [drift]})
        running[run] = items(level)
    _good_but_far, worse_but_near, worse_in_both = running
    assert set(Race(both=True).losers(store, 0.5, running)) == {worse_in_both}
    assert set(Race().losers(store, 0.5, running)) == {worse_but_near, worse_in_both}


def test_a_rival_that_left_its_budget_stops_nobody(tmp_path):
    store = Store(tmp_path)
    for seed, cause in ((1, Cause.BUDGET), (2, None)):
        row = store.add_run(BASE.but(seed=seed))
        store.update_run(row.id, result={"cause": cause})
        store.log_evaluation(run=row.id, step=1, share=0.5, loss=1.0, items=items(1.0), pulse={})
    first, second = (BASE.but(seed=s).run_id for s in (1, 2))
    assert Race((first,)).losers(store, 0.5, {"x": items(2.0)}) == {}
    assert set(Race((second,)).losers(store, 0.5, {"x": items(2.0)})) == {"x"}


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.lists(st.floats(0.1, 9), min_size=5, max_size=5), min_size=1),
    st.floats(0.05, 1),
)
def test_the_best_always_goes_on(running, share):
    best = min(running, key=lambda r: sum(running[r]))
    assert best not in clearly_worse(share, running, {})


def outcome(rate, level, drift, status=Status.COMPLETE, breach=None, jitter=0):
    values = items(level, jitter)
    return Outcome(BASE.but(learning_rate=rate), status, sum(values) / len(values), values, drift, breach)


def test_the_race_seldom_stops_who_would_have_won_on_the_recorded_grid():
    """Triples of neighbouring values of one setting, one seed: every rung of 81 real runs."""
    grid = json.loads((Path(__file__).parents[2] / "bench/results/study_grid.json").read_text())
    rungs = {(*r["way"].values(), r["seed"]): {g["share"]: g["items"] for g in r["rungs"]} for r in grid["runs"]}
    lost = dict.fromkeys(range(3), 0)
    for axis in lost:
        for key in {tuple(v for i, v in enumerate(k) if i != axis) for k in rungs}:
            three = [k for k in rungs if tuple(v for i, v in enumerate(k) if i != axis) == key]
            best = min(three, key=lambda k: sum(rungs[k][1.0]))
            lost[axis] += best in _raced({k: rungs[k] for k in three})
    assert (lost[0], sum(lost.values())) <= (1, 2)


def _raced(rungs):
    """Who is stopped at any rung that all still running have."""
    running, stopped = dict(rungs), set()
    for share in sorted(set.intersection(*(set(r) for r in rungs.values()))):
        out = clearly_worse(share, {k: running[k][share] for k in running}, {})
        stopped |= out.keys()
        running = {k: v for k, v in running.items() if k not in out}
    return stopped


def test_the_lowest_loss_wins_and_one_seed_claims_nothing():
    choice = choose([outcome(1e-4, 1.5, 0.01), outcome(3e-4, 1.0, 0.02, jitter=1)], "learning_rate")
    assert choice.winner.recipe.learning_rate == 3e-4
    assert "0.0001 is +0.489 on the same items. One seed each: chosen, not shown to be better." in choice.sentence
    assert "[" not in choice.sentence
    assert [e["kept"] for e in choice.evidence] == [False, True]


def test_what_is_shown_to_be_as_good_goes_to_the_calmer_one():
    choice = choose([outcome(1e-4, 1.001, 0.02), outcome(3e-4, 1.0, 0.20)], "learning_rate")
    assert choice.winner.recipe.learning_rate == 1e-4
    assert "is within 2% of 0.0003's 1.019 on the items of one seed, and it moved the model less" in choice.sentence


def test_what_is_only_not_shown_to_be_worse_is_not_equal():
    choice = choose([outcome(1e-4, 1.06, 0.02, jitter=2), outcome(3e-4, 1.0, 0.20, jitter=1)], "learning_rate")
    assert choice.winner.recipe.learning_rate == 3e-4


def test_unknown_drift_is_not_calm_and_ties_go_to_the_smaller_step():
    unknown = choose([outcome(1e-4, 1.001, None), outcome(3e-4, 1.0, 0.2)], "learning_rate")
    assert unknown.winner.recipe.learning_rate == 3e-4
    neither = choose([outcome(1e-4, 1.001, None), outcome(3e-4, 1.0, None), outcome(1e-3, 1.0, None)], "learning_rate")
    assert neither.winner.recipe.learning_rate == 1e-4
    assert "is the smaller step" in neither.sentence
    assert "drift" not in neither.sentence
    assert neither.tied
    assert not choose([outcome(1e-4, 1.5, None), outcome(3e-4, 1.0, None)], "learning_rate").tied


def test_still_falling_needs_more_than_noise():
    assert still_falling([items(1.0), items(0.8, 1)])
    assert not still_falling([items(1.0), items(0.999, 1)])
    assert not still_falling([items(1.0)])


def test_a_breach_never_wins_and_nobody_inside_is_said():
    breached = outcome(1e-3, 0.5, 0.9, Status.STOPPED, "budget breached at two evaluations in a row: …")
    inside = outcome(1e-4, 1.5, 0.01)
    assert choose([breached, inside], "learning_rate").winner is inside
    none = choose([breached], "learning_rate")
    assert "No learning_rate stayed inside the budget" in none.sentence


def test_a_run_whose_drift_was_not_measured_is_not_calm(tmp_path):
    store = Store(tmp_path)
    running = {}
    for seed, level, pulse in ((1, 1.0, {}), (2, 2.0, {"kl_pulse": [0.01]})):
        run = store.add_run(BASE.but(seed=seed)).id
        store.log_evaluation(run=run, step=1, share=0.5, loss=level, items=items(level), pulse=pulse)
        running[run] = items(level)
    assert Race(both=True).losers(store, 0.5, running) == {}
    assert len(Race().losers(store, 0.5, running)) == 1
