"""Rules 8 to 12: the time scale of weight decay by its published formula, and what must hold for any facts."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planning.test_plan import FACTS
from trimtab.planning import rules_after

CHOSEN = {"method": "auto", "effective_batch": 10, "learning_rate": 1e-3, "num_train_epochs": 3.0, "max_length": 704}


def but(**changes):
    return dataclasses.replace(FACTS, **changes)


@pytest.mark.parametrize(("epochs", "said"), [(3.0, "it has no effect"), (33.3, "it has no effect"), (33.4, "it acts")])
def test_decay_acts_within_its_time_scale(epochs, said):
    """1/(rate × decay × steps an epoch) = 1/(1e-3 × 0.1 × 100) = 100 epochs (Wang & Aitchison)."""
    chosen = CHOSEN | {"weight_decay": 0.1, "num_train_epochs": epochs}
    reason = rules_after.regularisation(but(examples=1000), chosen, None)["weight_decay"].reason
    assert reason == f"its time scale is 100 epochs, the run has {epochs:g}: {said}"


def test_no_decay_has_no_time_scale_and_four_bit_is_clipped_as_in_qlora():
    found = rules_after.regularisation(FACTS, CHOSEN, None)
    assert found["weight_decay"].reason == "0: nothing to decay"
    assert found["max_grad_norm"].value == 1.0
    assert rules_after.regularisation(FACTS, CHOSEN | {"method": "qlora"}, None)["max_grad_norm"].value == 0.3


@pytest.mark.parametrize(
    ("task", "examples", "share"),
    [
        ("text-classification", 4999, 0.1),
        ("text-classification", 5000, 0.06),
        ("image-classification", 100, 0.1),
        ("sft", 100, 0.05),
    ],
)
def test_small_classifiers_warm_up_longest(task, examples, share):
    found = rules_after.schedule(but(task=task, examples=examples), CHOSEN | {"method": "full"}, None)
    assert found["warmup_steps"].value == share


@given(st.integers(8, 10**6), st.floats(0.1, 15), st.integers(1, 64), st.sampled_from(["tight", "standard"]))
def test_a_run_is_looked_at_four_to_ten_times(examples, epochs, batch, risk):
    chosen = CHOSEN | {"num_train_epochs": epochs, "effective_batch": batch}
    found = rules_after.watching(but(examples=examples, risk=risk), chosen, None)
    assert 4 <= round(1 / found["eval_steps"].value) <= 10
    assert found["early_stopping_patience"].value == 3 or (risk == "standard" and epochs < 3.5)


def test_packing_says_how_many_times_fewer_rows_where_it_would_pay():
    """A mean example of 200 tokens in 1,000: a fifth, so five times fewer rows."""
    half_full = but(examples=20_000, tokens=20_000 * 200)
    reason = rules_after.elsewhere(half_full, CHOSEN | {"max_length": 1000}, None)["packing"].reason
    assert reason.startswith("a mean example fills 20% of the cutoff: packing would make 5.0 times fewer rows")
    few = dataclasses.replace(half_full, examples=19_999)
    assert "packing would" not in rules_after.elsewhere(few, CHOSEN | {"max_length": 1000}, None)["packing"].reason
    assert "packing would" not in rules_after.elsewhere(half_full, CHOSEN | {"max_length": 400}, None)["packing"].reason


def test_layer_decay_is_for_whole_classifiers_alone():
    whole = rules_after.elsewhere(but(task="text-classification"), CHOSEN | {"method": "full"}, None)
    assert whole["layer_decay"].value == 1
    assert "layer_decay" not in rules_after.elsewhere(FACTS, CHOSEN | {"method": "full"}, None)
    assert "layer_decay" not in rules_after.elsewhere(but(task="text-classification"), CHOSEN, None)


def test_a_card_without_fast_bfloat16_is_sent_to_float16_elsewhere_a_processor_is_not():
    card, processor = (rules_after.precision(but(bf16=False, device=d), {}, None)["bf16"] for d in ("cuda", "cpu"))
    assert (card.value, processor.value) == (False, False)
    assert "float16 with scaling" in card.reason
    assert processor.reason.endswith("no fast bfloat16: float32")
