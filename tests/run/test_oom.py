"""When memory runs out: the micro-batch is halved and nothing else changes. Real exhaustion, in a process with a
limit."""

import subprocess
import sys
import textwrap

import pytest
import torch

from trimtab.errors import RunError
from trimtab.run.cohort import Cohort
from trimtab.run.oom import in_batches, is_out_of_memory


def weights_after(cohort, n=4):
    for _ in range(n):
        for member, (loss, tokens) in zip(cohort.running, cohort.forward_backward(cohort.running), strict=True):
            if member.accumulate(loss, tokens):
                member.update()
    return cohort.members[0].optimizer.flats[0].vector.detach().clone()


class Small:
    """A pass that has room for `rows` rows only; the seam is the forward pass, as on a real card."""

    def __init__(self, cohort, rows):
        self.real, self.rows = cohort.base.logits, rows
        cohort.base.logits = self

    def __call__(self, batch, slices):
        if batch.rows > self.rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.real(batch, slices)


def test_halving_keeps_the_effective_batch_and_says_so(tiny_base, small_data, recipe):
    r = recipe.but(per_device_train_batch_size=8)
    cohort, said = Cohort(tiny_base, [r], small_data), []
    cohort.shrunk = lambda _member, text: said.append(text)
    Small(cohort, 3)
    cohort.rehearse()
    assert said == ["out of memory: micro-batch 8 -> 4, 2 passes a step; the effective batch stays 8",
                    "out of memory: micro-batch 4 -> 2, 4 passes a step; the effective batch stays 8"]  # fmt: skip
    member = cohort.members[0]
    assert not member.optimizer.flats[0].grad.any()
    shrunk = weights_after(cohort, 8)
    assert member.state.step == 2
    plain = weights_after(
        Cohort(tiny_base, [r.but(per_device_train_batch_size=2, gradient_accumulation_steps=4)], small_data), 8
    )
    assert torch.allclose(shrunk, plain, rtol=1e-6, atol=1e-8)


def test_a_step_that_fails_half_way_begins_again(tiny_base, small_data, recipe):
    r = recipe.but(per_device_train_batch_size=4, gradient_accumulation_steps=2)
    same = r.but(per_device_train_batch_size=2, gradient_accumulation_steps=4)  # rounds as the halved one does
    plain = weights_after(Cohort(tiny_base, [same], small_data), 4)
    cohort = Cohort(tiny_base, [r], small_data)
    ((loss, tokens),) = cohort.forward_backward(cohort.members)
    cohort.members[0].accumulate(loss, tokens)
    Small(cohort, 2)
    shrunk = weights_after(cohort, 4)
    assert cohort.members[0].state.step == 1
    assert torch.allclose(shrunk, plain, rtol=1e-6, atol=1e-8)


def test_the_rehearsal_changes_nothing(tiny_base, small_data, recipe):
    r = recipe.but(lora_dropout=0.3)
    rehearsed = Cohort(tiny_base, [r], small_data)
    rehearsed.rehearse()
    assert torch.equal(weights_after(rehearsed), weights_after(Cohort(tiny_base, [r], small_data)))


def test_a_run_that_goes_on_is_not_rehearsed_again(tiny_base, small_data, recipe, tmp_path):
    """Its measurement stays, and so do the gradients of the step that it was in."""
    from trimtab.run.machine import look
    from trimtab.store import Store
    from trimtab.workers.expectation import Expectation

    cohort, store = Cohort(tiny_base, [recipe.but(gradient_accumulation_steps=2)], small_data), Store(tmp_path)
    ((loss, tokens),) = cohort.forward_backward(cohort.members)
    cohort.members[0].accumulate(loss, tokens)
    before = cohort.members[0].optimizer.flats[0].grad.clone()
    Expectation(store, look(1), print).rehearse(cohort, "bundled:tiny", predict=True)
    assert store.forecasts() == []
    assert torch.equal(cohort.members[0].optimizer.flats[0].grad, before)


def test_one_example_that_does_not_fit_is_one_sentence(tiny_base, small_data, recipe):
    cohort = Cohort(tiny_base, [recipe], small_data)
    Small(cohort, 0)
    with pytest.raises(RunError, match=r"one example in a pass.*gradient_checkpointing"):
        cohort.rehearse()


def test_evaluation_falls_back_by_itself(tiny_base, small_data, recipe):
    cohort, said = Cohort(tiny_base, [recipe], small_data), []
    rows = small_data.splits["validation"]
    plain = [j.losses for j in cohort.evaluate(cohort.members, rows)]
    tiny_base.say = said.append
    Small(cohort, 2)
    small = cohort.evaluate(cohort.members, rows)[0].losses
    assert small == pytest.approx(plain[0], rel=1e-5)
    assert "training is not changed" in said[0]
    assert cohort.members[0].plan.micro_batch == recipe.per_device_train_batch_size


def test_other_errors_are_not_hidden():
    assert is_out_of_memory(
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
    )
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    with pytest.raises(ZeroDivisionError):
        list(in_batches([1, 2], 2, lambda _: 1 / 0))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
def test_a_real_allocator_that_runs_out_is_recognised():
    code = """
        import resource, torch
        from trimtab.run.oom import in_batches
        torch.set_num_threads(1); torch.ones(8) @ torch.ones(8)
        used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20,) * 2)
        said = []
        found = list(in_batches(range(8), 8, lambda piece: torch.ones(len(piece), 2**24).sum().item(), said.append))
        print([len(p) for p, _ in found], len(said))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-800:]
    pieces, times = done.stdout.rsplit(" ", 1)
    assert int(times) >= 1
    assert sum(eval(pieces)) == 8
