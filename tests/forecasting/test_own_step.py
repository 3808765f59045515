"""A step of our own loop: as many labels as the batch has, and a member's vectors at full depth."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from tests.forecasting.test_trace import config, work
from trimtab.forecasting import own_step
from trimtab.forecasting.meter import Meter

OURS = {"trainer": "trimtab", "optim": "adamw_torch", "autocast": "no", "device": "cpu", "dtype": "float32",
        "gradient_checkpointing": False, "max_length": 16}  # fmt: skip


@given(st.integers(2, 64), st.integers(1, 8), st.one_of(st.none(), st.floats(1, 80)))
@example(10, 5, 3.5)
def test_labels_are_dealt_out_evenly_and_all_of_them(length, rows, labels):
    w = work(**{**OURS, "max_length": length, "per_device_train_batch_size": rows, "labels": labels})
    weights = [t.weight for t in own_step._data(w, None).splits["train"]]
    most = (length - 1) * rows  # of a row's tokens the first is never learned
    assert sum(weights) == min(most, round((labels or length) * rows))
    assert max(weights) - min(weights) <= 1
    assert {len(t.ids) for t in own_step._data(w, None).splits["train"]} == {length}


def made(**more):
    w = work(**{**OURS, **more})
    torch.manual_seed(0)
    small = config(num_hidden_layers=2, hidden_size=32, intermediate_size=48, vocab_size=64)
    meter = Meter(round_to=1)
    return own_step.OwnStep(AutoModelForCausalLM.from_config(small), w, meter), meter


def times(layer):
    """Each layer of the short model stands for ten."""
    return 1 if layer is None else 10


def test_vectors_of_each_member_at_full_depth():
    """LoRA of rank 4 on a 32-wide layer with 16 wide keys: r × (in + out) for each of its seven linears."""
    step, _ = made(members=3)
    linears = [(32, 32), (32, 16), (32, 16), (32, 32), (32, 48), (32, 48), (48, 32)]
    own = 20 * sum(4 * (a + b) for a, b in linears)
    assert step.update_shapes(times) == [(torch.Size([own]), torch.float32)]
    sizes = {}
    for e in step.resident(times):
        sizes[e.kind] = sizes.get(e.kind, 0) + e.size
    assert sizes == {"adapter": 3 * 4 * own, "gradients": 3 * 4 * own, "optimizer": 3 * 8 * own}


@pytest.mark.parametrize(
    ("how", "moments"), [({"optim": "adamw_torch"}, 2), ({"optim": "sgd"}, 0), ({"optim": "sgd", "momentum": 0.9}, 1)]
)
def test_full_training_steps_matrices_and_norms_apart(how, moments):
    step, meter = made(method="full", **how)
    whole = sum(
        p.numel() * times(own_step.step.layer_finder(step.base.model)(n)) for n, p in step.base.model.named_parameters()
    )
    assert len(step.update_shapes(times)) == 2
    assert sum(shape.numel() for shape, _ in step.update_shapes(times)) == whole
    assert sum(e.size for e in step.resident(times)) == 4 * whole * (2 + moments)
    assert sum(e.size for e in meter.events if e.kind == "weights" and e.at.phase == "weights") < 4 * whole / 10


def test_a_step_gives_back_what_it_took():
    """After forward and backward only what was there before is: gradients are views of a vector."""
    step, meter = made()
    before = sum(e.size for e in meter.events)
    with meter:
        step.forward_backward()
        step.clear()
    assert sum(e.size for e in meter.events) == before
    assert {e.at.phase for e in meter.events} > {"forward", "head", "backward"}
