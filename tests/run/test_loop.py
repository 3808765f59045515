"""The loop with real training: evaluation, early stopping, guards, and the same bits after an interruption."""

import pytest
import torch
from accelerate import Accelerator

from tests.weights import same_weights
from trimtab.errors import SpecError
from trimtab.run.cohort import Cohort, Evaluation
from trimtab.run.guards import Limits, Stop
from trimtab.run.loop import train
from trimtab.spec.status import Cause, Status
from trimtab.tasks.language import LanguageBase
from trimtab.tasks.pretrained import load_model


class Hooks:
    def __init__(self, stop=None, die_at=None):
        self.steps, self.evaluations, self.ended, self.stop, self.die_at = [], [], [], stop or {}, die_at

    def stepped(self, member, numbers):
        self.steps.append((member.id, numbers["step"], numbers["loss"], numbers["grad_norm"]))
        if self.die_at is not None and len(self.steps) == self.die_at:
            raise KeyboardInterrupt

    def evaluated(self, share, found):
        self.evaluations.append((share, {m.id: judged.losses for m, judged in found.items()}))
        return {
            m: Stop(Cause.RACE, self.stop[share])
            for m in found
            if m.id in self.stop.get("who", ()) and share in self.stop
        }

    def restored(self, cohort):
        pass

    def stopped(self, member):
        self.ended.append(member.id)


def fresh(tokenizer):
    return LanguageBase(load_model("bundled:tiny", torch.float32, "cpu"), tokenizer, Accelerator(cpu=True))


def test_it_learns_and_leaves_best_and_last(tiny_base, small_data, recipe, tmp_path):
    hooks = Hooks()
    r = recipe.but(learning_rate=2e-2, num_train_epochs=3, eval_steps=0.25)
    cohort = Cohort(tiny_base, [r], small_data)
    train(cohort, tmp_path, "c", hooks)
    member = cohort.members[0]
    assert member.state.status == Status.COMPLETE
    assert member.state.step == member.total_steps == r.steps(len(small_data.splits["train"]))
    assert [s for s, _ in hooks.evaluations] == [0.25, 0.5, 0.75, 1.0]
    first, last = (sum(v) / len(v) for v in (next(iter(hooks.evaluations[i][1].values())) for i in (0, -1)))
    assert last < first - 0.1
    assert {p.name for p in (tmp_path / "runs" / r.run_id).iterdir()} == {"best", "last"}


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("die_at", [7, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 10, 13))])
def test_an_interrupted_cohort_goes_on_bit_for_bit(tiny_tokenizer, small_data, recipe, tmp_path, die_at, method):
    common = {"method": method, "lora_dropout": 0.2, "num_train_epochs": 1.5}
    pair = [recipe.but(**common, gradient_accumulation_steps=2)] + (
        [recipe.but(**common, seed=5)] if method == "lora" else []
    )
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    undisturbed = Hooks()
    train(Cohort(fresh(tiny_tokenizer), pair, small_data), whole, "c", undisturbed, save_every=0)
    before = Hooks(die_at=min(die_at, len(undisturbed.steps) - 1))
    with pytest.raises(KeyboardInterrupt):
        train(Cohort(fresh(tiny_tokenizer), pair, small_data), broken, "c", before, save_every=0)
    after = Hooks()
    train(Cohort(fresh(tiny_tokenizer), pair, small_data), broken, "c", after, save_every=0)
    seen = {(run, step): rest for run, step, *rest in before.steps + after.steps}
    assert seen == {(run, step): rest for run, step, *rest in undisturbed.steps}
    assert after.evaluations[-1] == undisturbed.evaluations[-1]
    for r in pair if method == "lora" else []:
        assert same_weights(whole / "runs" / r.run_id / "last", broken / "runs" / r.run_id / "last")
        assert same_weights(whole / "runs" / r.run_id / "best", broken / "runs" / r.run_id / "best")


def test_a_member_that_is_stopped_frees_its_slice_and_the_other_does_not_notice(
    tiny_tokenizer, small_data, recipe, tmp_path
):
    pair = [recipe, recipe.but(seed=2)]
    hooks = Hooks(stop={"who": (pair[1].run_id,), 0.5: "too weak"})
    cohort = Cohort(fresh(tiny_tokenizer), pair, small_data, "certify")
    train(cohort, tmp_path / "a", "c", hooks)
    alone = Hooks()
    train(Cohort(fresh(tiny_tokenizer), [recipe], small_data, "certify"), tmp_path / "b", "c", alone)
    stopped = cohort.members[1]
    assert (stopped.state.status, stopped.state.reason) == (Status.STOPPED, "too weak")
    assert stopped.state.step == stopped.steps_at(0.5)
    assert [s for s in hooks.steps if s[0] == recipe.run_id] == alone.steps
    assert same_weights(
        tmp_path / "a" / "runs" / recipe.run_id / "last", tmp_path / "b" / "runs" / recipe.run_id / "last"
    )
    state = list((tmp_path / "a" / "runs" / stopped.id).glob("state-*.safetensors"))
    assert len(state) == 1  # it can go on


def test_patience(tiny_base, small_data, recipe, tmp_path):
    r = recipe.but(learning_rate=1e-9, eval_steps=0.1, num_train_epochs=3, early_stopping_patience=2, lora_alpha=1)
    cohort = Cohort(tiny_base, [r], small_data)
    never_better = Evaluation(losses=[2.0], right=[0.0], sure=[0.5], choice=[0])
    cohort.evaluate = lambda members, _items: [never_better for _ in members]
    train(cohort, tmp_path, "c", Hooks())
    p = cohort.members[0].state
    assert p.status == Status.COMPLETE
    assert "early stopping" in p.reason
    assert p.evaluated == 3


@pytest.mark.parametrize(
    ("change", "limits", "why"),
    [
        ({"learning_rate": 1.0, "optim": "sgd", "lora_alpha": 1e30, "max_grad_norm": 0}, Limits(), "nan|inf|exploded"),
        ({}, Limits(max_size=300), "limit of 300 tokens"),
        ({}, Limits(max_seconds=0.0), "time limit"),
    ],
)
def test_guards_stop_a_run_and_leave_good_weights(tiny_base, small_data, recipe, tmp_path, change, limits, why):
    hooks = Hooks()
    r = recipe.but(num_train_epochs=4, **change)
    cohort = Cohort(tiny_base, [r], small_data, limits=limits)
    train(cohort, tmp_path, "c", hooks)
    p = cohort.members[0].state
    assert p.status == (Status.FAILED if p.cause == Cause.GUARD and p.best_loss is None else Status.STOPPED)
    assert any(word in p.reason for word in why.split("|"))
    assert hooks.ended == [r.run_id]
    from trimtab.run.checkpoint import load_adapter

    assert all(
        torch.isfinite(w).all() for w in load_adapter(tmp_path / "runs" / r.run_id / "last", tiny_base).parameters()
    )


def test_a_dead_run_says_so(tiny_base, small_data, recipe, tmp_path):
    cohort = Cohort(tiny_base, [recipe], small_data)
    for p in cohort.members[0].adapter.A.values():
        p.data.zero_()  # A = B = 0: no gradient can ever flow
    train(cohort, tmp_path, "c", Hooks())
    assert "exactly zero" in cohort.members[0].state.reason


def test_a_stopped_member_goes_on_alone_as_if_never_stopped(tiny_tokenizer, small_data, recipe, tmp_path):
    pair = [recipe, recipe.but(seed=2, lora_dropout=0.1)]
    hooks = Hooks(stop={"who": (pair[1].run_id,), 0.5: "too weak"})
    train(Cohort(fresh(tiny_tokenizer), pair, small_data, "certify"), tmp_path / "a", "both", hooks)
    again = Hooks()
    train(Cohort(fresh(tiny_tokenizer), pair[1:], small_data), tmp_path / "a", "both", again)
    train(Cohort(fresh(tiny_tokenizer), pair[1:], small_data), tmp_path / "b", "alone", Hooks())
    run = pair[1].run_id
    assert again.ended == [run]
    assert [s for s, _ in again.evaluations] == [1.0]
    assert same_weights(tmp_path / "a" / "runs" / run / "last", tmp_path / "b" / "runs" / run / "last")


def test_an_earlier_checkpoint_is_the_run_s_own_at_that_step(tiny_tokenizer, small_data, recipe, tmp_path):
    whole = recipe.but(learning_rate=1e-2, num_train_epochs=3, eval_steps=0.25)
    step = round(0.5 * whole.steps(len(small_data.splits["train"])))
    earlier = whole.but(stop_at_step=step)
    hooks = Hooks()
    cohort = Cohort(fresh(tiny_tokenizer), [whole, earlier], small_data, mode="certify")
    train(cohort, tmp_path, "c", hooks)
    full, short = cohort.members
    assert (short.state.status, short.state.step) == (Status.COMPLETE, step)
    assert full.state.step == full.total_steps > step
    looks = dict(hooks.evaluations)
    assert looks[0.5][earlier.run_id] == looks[0.5][whole.run_id]
    assert earlier.run_id not in looks[0.75]
    again = Hooks()
    train(Cohort(fresh(tiny_tokenizer), [earlier], small_data), tmp_path / "alone", "d", again)
    assert dict(again.evaluations)[0.5][earlier.run_id] == looks[0.5][whole.run_id]


def test_a_step_between_two_evaluations_is_evaluated_at_once(tiny_base, small_data, recipe, tmp_path):
    hooks, odd = Hooks(), recipe.but(num_train_epochs=3, eval_steps=0.5, stop_at_step=2)
    cohort = Cohort(tiny_base, [odd], small_data)
    train(cohort, tmp_path, "c", hooks)
    assert cohort.members[0].state.step == 2
    assert len(hooks.evaluations) == 1


def test_a_step_past_the_end_is_refused_with_what_there_is(tiny_base, small_data, recipe):
    steps = recipe.steps(len(small_data.splits["train"]))
    Cohort(tiny_base, [recipe.but(stop_at_step=steps)], small_data)
    with pytest.raises(SpecError, match=f"past its end: it has {steps} steps"):
        Cohort(tiny_base, [recipe.but(stop_at_step=steps + 1)], small_data)
