"""The first seven rules, each by itself: their boundaries and what must hold for any facts."""

import dataclasses
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.planning.test_plan import FACTS
from trimtab.planning import rules


def but(**changes):
    return dataclasses.replace(FACTS, **changes)


@pytest.mark.parametrize(
    ("task", "parameters", "method"),
    [
        ("text-classification", 1_499_999_999, "full"),
        ("text-classification", 1_500_000_000, "auto"),
        ("image-classification", 86_000_000, "full"),
        ("sft", 86_000_000, "auto"),
    ],
)
def test_only_small_encoders_and_vision_are_trained_whole(task, parameters, method):
    assert rules.method(but(task=task, parameters=parameters), {}, None)["method"].value == method


def test_a_processor_trains_classifiers_by_adapters_and_not_for_long():
    facts = but(task="text-classification", parameters=22_000_000, device="cpu", examples=1_000)
    assert rules.method(facts, {}, None)["method"].value == "lora"
    assert rules.epochs(facts, {"method": "lora"}, None)["num_train_epochs"].value == 3
    assert rules.epochs(facts, {"method": "full"}, None)["num_train_epochs"].value > 8


def test_the_rank_grows_with_what_there_is_to_learn_and_alpha_is_twice_the_rank_that_counts():
    small, big = (rules.adapter(but(label_tokens=n), {"method": "auto"}, None) for n in (20_000_000, 20_000_001))
    assert (small["r"].value, big["r"].value) == (16, 64)
    assert (small["lora_alpha"].value, big["lora_alpha"].value) == (32, 128)
    assert rules.adapter(FACTS, {"method": "qlora", "r": 6}, None)["lora_alpha"].value == 12
    assert rules.adapter(FACTS, {"method": "full"}, None) == {}


def test_dropout_only_where_few_examples_come_again_and_a_card_makes_it_cheap():
    def dropout(**changes):
        return rules.adapter(but(**changes), {"method": "auto"}, None)["lora_dropout"].value

    assert dropout(examples=9_999) > 0
    assert dropout(examples=10_000) == 0
    assert dropout(examples=9_999, device="cpu") == 0


@given(
    st.integers(1, 20_000),
    st.integers(0, 20_000),
    st.sampled_from([None, 0.1, 0.5, 1.0]),
    st.sampled_from([None, 512, 1000, 8192]),
    st.sampled_from([1.0, 1.15]),
)
@example(64, 0, None, None, 1.0)  # as long as the cutoff, to the token
def test_the_cutoff_covers_99_percent_or_says_why_not(length_99, more, share_95, positions, margin):
    facts = but(
        length_99=length_99,
        length_max=length_99 + more,
        length_95=None if share_95 is None else max(1, int(length_99 * share_95)),
        positions=positions,
        length_margin=margin,
    )
    found = rules.length(facts, {"method": "auto"}, None)["max_length"]
    assert found.value % 64 == 0 or found.value == positions
    assert found.value <= (positions or math.inf)
    assert found.range[0] <= found.value <= found.range[1]
    if found.value < length_99:
        assert found.reason.startswith("all the positions" if share_95 != 0.1 else ("all the positions", "95 %"))
    assert found.reason.startswith("all examples fit") == (found.value >= math.ceil(facts.length_max * margin))


def test_a_long_cutoff_is_a_multiple_of_128():
    found = rules.length(but(length_99=4097, length_max=30_000, positions=None), {"method": "auto"}, None)
    assert found["max_length"].value == 4224
    found = rules.length(but(length_99=4033, length_max=30_000, positions=None), {"method": "auto"}, None)
    assert found["max_length"].value == 4096


def test_epochs_are_alpacas_at_alpacas_size_and_never_more_than_three_where_risk_is_tight():
    """52,000 examples: about three epochs, as Stanford Alpaca was trained."""
    assert rules.epochs(but(examples=52_000), {"method": "auto"}, None)["num_train_epochs"].value == 3.3
    assert rules.epochs_of(but(examples=8)) == 15
    assert rules.epochs_of(but(examples=10**9)) == 1
    tight = rules.epochs(but(examples=500, risk="tight"), {"method": "auto"}, None)["num_train_epochs"]
    assert tight.value == 3
    assert f"{rules.epochs_of(but(examples=500)):.1f}" in tight.reason


@given(st.integers(8, 10**5), st.floats(1, 15), st.integers(1, 8), st.sampled_from(["auto", "qlora", "full"]))
def test_a_batch_leaves_a_hundred_steps_or_is_as_small_as_may_be(examples, epochs, devices, method):
    chosen = {"method": method, "num_train_epochs": epochs}
    size = rules.batch(but(examples=examples, devices=devices), chosen, None)["effective_batch"].value
    assert size % devices == 0
    alone = rules.batch(but(examples=examples), chosen, None)["effective_batch"].value
    assert alone == 4 or examples * epochs / alone >= 100
    assert abs(size - alone) <= max(devices / 2, devices - alone)  # the nearest that the devices can share


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_a_batch_follows_what_a_person_fixed(micro, accumulation, devices):
    facts, chosen = but(devices=devices), {"method": "auto", "num_train_epochs": 3.0}
    both = {"per_device_train_batch_size": micro, "gradient_accumulation_steps": accumulation}
    assert rules.batch(facts, chosen | both, None)["effective_batch"].value == micro * accumulation * devices
    one = rules.batch(facts, chosen | {"per_device_train_batch_size": micro}, None)["effective_batch"].value
    assert one % (micro * devices) == 0


@pytest.mark.parametrize(("change", "factor"), [({"difficulty": "simple"}, 2), ({"difficulty": "complex"}, 0.5),
                                                ({"risk": "tight"}, 0.5), ({"risk": "loose"}, 1)])  # fmt: skip
def test_a_leaning_moves_the_rate_and_is_said(change, factor):
    chosen = {"method": "auto", "effective_batch": 16}
    plain = rules.learning_rate(FACTS, chosen, None)["learning_rate"]
    leaning = rules.learning_rate(but(**change), chosen, None)["learning_rate"]
    assert leaning.value == pytest.approx(plain.value * factor, rel=0.05)  # two digits are kept
    assert (f"times {factor:g} for" in leaning.reason) == (factor != 1)
    assert leaning.range[0] <= leaning.value <= leaning.range[1]


def test_a_leaning_stays_in_the_range_that_is_shown():
    for parameters in (10**8, 10**9, 1_165_914_401, 7 * 10**9):
        facts = but(parameters=parameters, difficulty="complex", risk="tight")
        made = rules.learning_rate(facts, {"method": "full", "effective_batch": 16}, None)["learning_rate"]
        assert made.range[0] <= made.value <= made.range[1]
