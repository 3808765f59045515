"""One run's position: counts that survive interruptions, ends with a reason, and a state that is saved whole."""

import json
from dataclasses import asdict, dataclass
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trimtab.run.guards import Limits, Stop
from trimtab.run.member import Member, MemberState
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Cause, Status
from trimtab.tasks.task import Group

LEARNING = SimpleNamespace(
    known_below=0.1, diverged_above=None, words=SimpleNamespace(size="tokens"), varied=lambda item, *_: item
)


@dataclass(frozen=True)
class Item:
    size: int
    weight: int


def member(items=20, micro=4, accumulation=2, **more):
    torch.manual_seed(0)
    recipe = Recipe(
        model="m", data="d", per_device_train_batch_size=micro, gradient_accumulation_steps=accumulation, **more
    )
    train = [Item(3 + i % 7, 1 + i % 3) for i in range(items)]
    group = Group([nn.Parameter(torch.randn(3, 4))])
    return Member(recipe, train, [group], None, Limits(), lambda: 0.0, LEARNING, len(train))


def do_pass(m, loss=0.5):
    """What the cohort does for a micro-batch; True where the step is whole."""
    items, _ = m.micro_batch()
    drawn = torch.Generator().manual_seed(100 * m.state.step + m.state.micro)
    m.optimizer.flats[0].grad.add_(torch.randn(m.optimizer.flats[0].grad.shape, generator=drawn))
    m.record([torch.full((i.weight,), loss) for i in items])
    return m.accumulate(loss, sum(i.size for i in items))


def do_step(m):
    while not do_pass(m):
        pass
    return m.update()


def test_an_epoch_passes_every_item_once():
    m = member(items=19)
    numbers = [do_step(m) for _ in range(3)]  # 8, 8 and 3 items
    assert [n["step"] for n in numbers] == [1, 2, 3]
    assert m.state.size == sum(i.size for i in m.train)
    assert m.total_steps == 3


def test_passes_of_a_step_share_one_weight():
    """The loss is divided by the whole effective batch, so that accumulation changes nothing."""
    m = member()
    first, weight = m.micro_batch()
    do_pass(m)
    second, same = m.micro_batch()
    assert weight == same == sum(i.weight for i in [*first, *second])
    longest, its_weight = m.longest_batch()
    assert min(i.size for i in longest) >= sorted(i.size for i in m.train)[-4]
    assert its_weight == sum(i.weight for i in longest)


@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 3))
def test_a_step_that_begins_again_with_half_the_rows_is_the_same_step(micro, accumulation, before):
    m = member(micro=micro, accumulation=accumulation)
    examples = sorted(m.plan.examples(0))
    for _ in range(min(before, m.passes - 1)):
        do_pass(m)
    m.restart_step()
    assert (m.state.size, m.state.micro, m.state.loss) == (0, 0, 0.0)
    assert not m.optimizer.flats[0].grad.any()
    m.halve()
    assert m.plan.micro_batch == max(1, micro // 2)
    assert sorted(i for piece in m.plan.micro_batches(0) for i in piece) == examples
    do_step(m)
    assert m.state.size == sum(m.train[i].size for i in examples)


def test_a_step_that_cannot_be_taken_moves_nothing():
    m = member()
    weights = m.optimizer.flats[0].vector.detach().clone()
    while not do_pass(m, float("nan")):
        pass
    numbers = m.update()
    assert torch.equal(m.optimizer.flats[0].vector, weights)
    assert (m.state.step, numbers["step"], numbers["learning_rate"]) == (0, 1, None)
    assert (m.state.status, m.state.cause) == (Status.FAILED, Cause.GUARD)  # nothing good to show
    m = member()
    m.book_evaluation(1.0)
    m.stop(Stop(Cause.GUARD, "why"))
    assert m.state.status == Status.STOPPED


def test_patience_counts_evaluations_without_a_gain():
    m = member(early_stopping_patience=2)
    assert [m.book_evaluation(v) for v in (2.0, 2.0, 1.5, 1.6)] == [True, False, True, False]  # equal is no gain
    assert m.running
    m.book_evaluation(1.5)
    assert (m.state.status, m.state.cause, m.state.evaluated) == (Status.COMPLETE, Cause.PATIENCE, 5)
    m.go_on()
    assert m.state.status == Status.COMPLETE  # it is done, not stopped


def test_a_stopped_run_goes_on_and_a_finished_one_does_not():
    m = member()
    m.stop(Stop(Cause.LIMIT, "time"))
    m.go_on()
    assert (m.state.status, m.state.reason, m.state.cause) == (Status.RUNNING, None, None)
    m.state.step = m.total_steps
    m.stop(Stop(Cause.LIMIT, "time"))
    m.go_on()
    assert m.state.status == Status.COMPLETE


@pytest.mark.parametrize("passes", [0, 1, 2, 3, 5])
def test_what_is_saved_in_the_middle_of_a_step_goes_on_as_if_nothing_had_been(passes):
    runs = [member(accumulation=4, learning_rate=1e-2) for _ in range(2)]
    for _ in range(passes):
        for m in runs:
            if do_pass(m):
                m.update()
    kept = {k: v.clone() for k, v in runs[0].tensors().items()}
    state = json.loads(json.dumps(asdict(runs[0].state)))
    again = member(accumulation=4, learning_rate=1e-2)
    again.optimizer.flats[0].vector.data.zero_()
    again.load(kept, state)
    assert again.state == runs[1].state
    do_step(again)
    do_step(runs[1])
    assert torch.equal(again.optimizer.flats[0].vector, runs[1].optimizer.flats[0].vector)


def test_a_state_of_an_earlier_version_is_read():
    old = {"step": 3, "tokens": 77, "status": "STOPPED", "cause": "LIMIT"}
    state = MemberState.of(old)
    assert (state.size, state.status, state.cause) == (77, Status.STOPPED, Cause.LIMIT)


def test_a_run_that_goes_on_still_counts_the_steps_that_went_wrong_before():
    """Twice the rolling mean for more than four steps ends a run, also where two of them lie before a restart."""
    m = member()
    m.load(m.tensors(), asdict(MemberState(step=1, recent=[1.0] * 9, high=4)))
    while not do_pass(m, 9.0):
        pass
    m.update()
    assert (m.running, m.state.cause) == (False, Cause.GUARD)
    assert "for 5 steps" in m.state.reason
