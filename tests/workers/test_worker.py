"""The worker with real training on the tiny model: the store it leaves, a budget breach, the card, looking up."""

import pytest
import torch

from trimtab.run.guards import Limits
from trimtab.run.machine import Machine
from trimtab.run.material import load_material
from trimtab.spec.budget import Budget, Limit, preset
from trimtab.spec.progress import SILENT
from trimtab.spec.status import Cause, Status
from trimtab.store import Store
from trimtab.tuning.race import Race
from trimtab.workers.specs import WorkerSpec
from trimtab.workers.worker import Worker


class Chosen(Race):
    """A race whose losers are known beforehand."""

    def __init__(self, losers):
        object.__setattr__(self, "_losers", losers)

    def beside(self, *_):
        return self

    def losers(self, _store, share, _running):
        return self._losers if share == 0.5 else {}


WILD = {"learning_rate": 2e-2, "eval_steps": 0.25}
NO_DRIFT = Budget(limits={"kl_generic": Limit(max=1e-9)})
HERE = Machine("cpu", "test", 1, 1, 2**30, False)


@pytest.fixture
def worker(tmp_path, small_file):
    def make(budget=None, **more):
        material = load_material("bundled:tiny", str(small_file))
        return Worker(Store(tmp_path), material, HERE, SILENT, WorkerSpec(budget=budget or Budget(), **more))

    yield make
    torch.set_num_threads(1)


def test_a_cohort_is_written_down(worker, recipe):
    w = worker()
    outcomes = w.train([recipe, recipe.but(seed=2)])
    rows = w.store.runs()
    assert [r.status for r in rows] == [Status.COMPLETE] * 2
    assert rows[0].cohort == rows[1].cohort
    for row, found in zip(rows, outcomes, strict=True):
        assert len(w.store.steps(row.id)) == row.total_steps
        evaluations = w.store.evaluations(row.id)
        assert [e["share"] for e in evaluations] == [0.5, 1.0]
        assert len(evaluations[0]["pulse"]["kl_pulse"]) == 8
        assert found.loss == min(e["loss"] for e in evaluations)
        assert row.result["size"] > 0


def test_finished_runs_are_only_looked_up(worker, recipe):
    first = worker().train([recipe])
    w = worker()
    w.train_cohort = None  # nothing may be trained
    assert w.train([recipe]) == first


def test_two_breaches_in_a_row_stop_a_run_and_it_keeps_its_weights(worker, recipe):
    """A limit of zero drift that any training leaves: stopped at the second evaluation, not the first."""
    w = worker(NO_DRIFT)
    wild = recipe.but(learning_rate=2e-2, eval_steps=0.25)
    (found,) = w.train([wild])
    row = w.store.run(wild.run_id)
    assert row.status == Status.STOPPED
    assert "budget breached at two evaluations in a row: kl_pulse" in row.reason
    assert [e["share"] for e in w.store.evaluations(row.id)] == [0.25, 0.5]
    assert not found.eligible
    assert w.store.events(run=row.id)[0]["kind"] == "stopped"
    assert (w.store.folder / "runs" / row.id / "best" / "adapter_model.safetensors").exists()


@pytest.mark.parametrize(
    ("method", "level"),
    [("lora", "short"), *(pytest.param(*how, marks=pytest.mark.slow) for how in (("lora", "card"), ("full", "short")))],
)
def test_the_card_of_a_run(worker, recipe, method, level):
    w = worker(preset("loose"))
    r = recipe.but(method=method)
    w.train([r])
    judged = w.card(r, level)
    numbers = {row["number"]: row for row in judged["rows"]}
    assert {
        "kl_generic",
        "nll_change",
        "length_ratio",
        "degeneration",
        "exact_match",
        "exact_match_gain",
    } <= numbers.keys()
    assert numbers["kl_generic"]["value"] > 0
    known = 302 if method == "full" else 32  # after half a piece; of that one's answers too few have a tone to judge
    assert numbers["kl_generic"]["n"] == numbers["cut"]["n"] == known
    assert numbers["length_ratio"]["verdict"] == "NOT MEASURED"  # every answer of the random model is cut
    samples = w.store.samples(r.run_id)
    asked = {"alarming", "open", "form"} if level == "card" else set()
    assert {s["probe"] for s in samples} == {"task", "generic", "refusable"} | asked
    tight = worker(Budget(limits={"kl_generic": Limit(max=1e-12)})).card(r)
    assert tight["verdict"] == "FAIL"  # judged again, not measured again


def test_facts_are_what_was_read(worker):
    facts = worker().facts()
    assert facts.examples == 44
    assert 0 < facts.label_tokens < facts.tokens
    assert facts.family == "llama"


def test_a_run_that_one_budget_stopped_goes_on_under_another(worker, recipe):
    wild = recipe.but(**WILD)
    worker(NO_DRIFT).train([wild])
    (found,) = worker(NO_DRIFT).train([wild])
    assert found.status == Status.STOPPED  # the same budget still says no
    (found,) = worker().train([wild])
    assert found.eligible
    w = worker()
    assert [e["share"] for e in w.store.evaluations(wild.run_id)] == [0.25, 0.5, 0.75, 1.0]
    assert len(w.store.steps(wild.run_id)) == w.store.run(wild.run_id).total_steps


def test_a_run_finished_without_a_budget_is_judged_by_the_one_of_today(worker, recipe):
    wild = recipe.but(**WILD)
    worker().train([wild])
    (found,) = worker(NO_DRIFT).train([wild])
    assert found.status == Status.COMPLETE
    assert "two evaluations in a row" in found.breach
    assert not found.eligible


def test_a_limit_before_the_first_evaluation_is_no_failure_and_the_run_goes_on(worker, recipe):
    (found,) = worker(limits=Limits(max_size=50)).train([recipe])
    assert (found.status, found.cause) == (Status.STOPPED, Cause.LIMIT)
    (found,) = worker().train([recipe])
    assert found.eligible


def test_an_interrupted_cohort_goes_on_under_its_name_without_those_that_had_ended(worker, recipe):
    pair = [recipe.but(lora_dropout=0.1), recipe.but(seed=2)]
    stop = {pair[1].run_id: "too weak"}
    w = worker()
    w.train(pair, Chosen(stop))
    assert w.store.run(pair[1].run_id).result["cause"] == Cause.RACE
    w.train(pair[1:], reopen=True)
    rows = w.store.runs()
    assert [r.status for r in rows] == [Status.COMPLETE] * 2
    assert rows[0].cohort == rows[1].cohort


def test_data_that_a_cutoff_leaves_nothing_of_loses_no_other_run(worker, recipe):
    w = worker()
    whole, cut = w.train([recipe, recipe.but(max_length=8)])
    assert (whole.status, cut.status) == (Status.COMPLETE, Status.FAILED)
    assert "every label is masked" in w.store.run(cut.recipe.run_id).reason


@pytest.mark.slow  # its halves are measured above, each in a process of its own
def test_one_process_measures_full_and_adapter_runs(worker, recipe):
    w = worker(Budget())
    both = [recipe.but(bf16=True), recipe.but(method="full", bf16=True)]
    w.train(both)
    assert [w.card(r, "short")["verdict"] for r in both] == ["NOT MEASURED"] * 2  # nothing is limited


def test_a_cohort_that_somebody_asked_to_stop_stops_whole_and_goes_on_exactly(worker, recipe, monkeypatch, tmp_path):
    """In the middle of a step of three runs: nobody's gradients are taken for a dead run's."""
    monkeypatch.setattr("trimtab.workers.worker.STOP_EVERY", -1.0)  # looks at every step
    w = worker(mode="certify")
    logged, runs = w.store.log_steps, [recipe.but(seed=s) for s in (1, 2, 3)]

    def ask_at_three(rows):
        logged(rows)
        if rows[0]["step"] == 3:
            for r in runs:
                w.store.ask_stop(r.run_id, "stopped by you")

    monkeypatch.setattr(w.store, "log_steps", ask_at_three)
    w.train(runs)
    for row in map(w.store.run, [r.run_id for r in runs]):
        assert (row.status, row.reason, row.result["cause"]) == (Status.STOPPED, "stopped by you", Cause.ASKED)
        assert row.result["step"] == 3
    monkeypatch.setattr(w.store, "log_steps", logged)
    found = w.train(runs)
    other = Worker(Store(tmp_path / "undisturbed"), w.material, HERE, SILENT, w.spec)
    assert [o.items for o in found] == [o.items for o in other.train(runs)]
    assert all(o.status == Status.COMPLETE for o in found)
    for r in runs:
        assert [s["step"] for s in w.store.steps(r.run_id)] == list(range(1, w.store.run(r.run_id).total_steps + 1))


def test_a_cohort_that_fails_does_not_take_the_others_along(worker, recipe):
    w = worker()
    wrong = recipe.but(target_modules=["no_such_layer"], eval_steps=0.25)
    bad, good = w.train([wrong, recipe])
    assert (bad.status, good.status) == (Status.FAILED, Status.COMPLETE)
    assert "no_such_layer" in w.store.run(wrong.run_id).reason


def test_cohorts_are_not_larger_than_asked(worker, recipe):
    w = worker(together=2)
    w.train([recipe.but(seed=s) for s in (1, 2, 3)])
    assert len({r.cohort for r in w.store.runs()}) == 2


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_the_untouched_model_loses(worker, recipe, method):
    """The same before and after a run, and what a rate of nothing leaves."""
    w, r = worker(), recipe.but(method=method, learning_rate=1e-9, max_steps=2)
    before = w.untouched(r)
    (still,) = w.train([r])
    assert still.items == pytest.approx(before, abs=1e-4)
    w.train([r.but(learning_rate=1e-2)])
    assert w.untouched(r) == before
