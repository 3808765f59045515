import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planning.test_plan import FACTS
from trimtab.planning import rate_sweep, rates
from trimtab.planning.plan import make_plan
from trimtab.planning.precedents import Query, median, nearest
from trimtab.planning.rule_table import table
from trimtab.spec.words import TASKS


def test_what_was_measured_stands_alone_beside_published_practice():
    q = Query(8, "llama", "sft", "lora", 16)
    found = rates.decide(q)
    assert found.prior == median(nearest(q))
    assert found.value == pytest.approx(found.rule, rel=0.05)
    assert "do not count" in found.reason


def test_elsewhere_rule_and_practice_count_the_same():
    found = rates.decide(Query(7, "bloom", "sft", "full", 64))
    assert found.value == pytest.approx(math.sqrt(found.prior * found.rule), rel=0.05)


def test_makers_override_and_their_rate_follows_the_batch():
    named = "HuggingFaceTB/SmolLM2-135M-Instruct"
    found = rates.decide(Query(0.135, "smollm", "sft", "full", 32, model=named))
    assert found.value == pytest.approx(1e-3 / 2, rel=0.05)
    assert found.maker.repo == "huggingface/alignment-handbook"
    lora = rates.decide(Query(0.135, "smollm", "sft", "lora", 128, model=named))
    assert lora.value == pytest.approx(1e-2, rel=0.05)


def test_another_generations_recipe_is_not_the_makers_own():
    """Qwen's script of 2023 for Qwen-7B says nothing of Qwen2.5."""
    old = rates.decide(Query(7.7, "qwen", "sft", "lora", 16, model="Qwen/Qwen-7B"))
    assert old.maker
    assert old.value == pytest.approx(3e-4, rel=0.05)
    assert rates.decide(Query(7.6, "qwen", "sft", "lora", 16, model="Qwen/Qwen2.5-7B-Instruct")).maker is None


def test_what_was_measured_on_this_very_model_counts_alone():
    named = Query(9, "qwen", "sft", "lora", 128, model="Qwen/Qwen3.5-9B")
    curve = next(c for c in rate_sweep.sweep() if c.model == "Qwen/Qwen3.5-9B")
    found = rates.decide(named)
    assert "this very model" in found.reason
    assert curve.regret(found.value) < 1e-4
    assert "this very model" not in rates.decide(named, without_curve=lambda c: c.family == curve.family).reason


def test_a_measured_base_says_nothing_of_its_instruct_model():
    """The catalogue has the two as one shape; they are not one model."""
    facts = dataclasses.replace(FACTS, model_name="meta-llama/Llama-3.2-1B", parameters=1_235_814_400)
    own, alias = (dataclasses.replace(facts, model=f"meta-llama/Llama-3.2-1B{tail}") for tail in ("", "-Instruct"))
    assert "this very model" in make_plan(own).settings["learning_rate"].reason
    assert "this very model" not in make_plan(alias).settings["learning_rate"].reason


def test_a_makers_example_far_outside_the_band_is_not_believed():
    """A framework's smoke test names 5e-6 for LoRA on Nemotron 30B: the dearest mistake, a full-training scale."""
    named = "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-Base-BF16"
    found = rates.decide(Query(30, "nemotron", "sft", "lora", 16, model=named))
    assert found.maker is None
    assert found.value > 5e-5


def test_far_apart_sources_disagree():
    assert rates.decide(Query(1.2, "llama", "sft", "lora", 64)).disagree
    named = "HuggingFaceTB/SmolLM2-1.7B"
    assert not rates.decide(
        Query(1.7, "smollm", "sft", "lora", 16, model=named)
    ).disagree  # the makers' own recipe decides
    assert not rates.decide(Query(8, "llama", "sft", "lora", 16)).disagree


@given(
    st.floats(0.02, 700),
    st.sampled_from(sorted(TASKS)),
    st.sampled_from(["lora", "qlora", "full"]),
    st.sampled_from([1, 4, 16, 64, 256, 1024]),
    st.sampled_from(["adam", "sgd"]),
)
def test_there_is_always_a_rate_with_a_band_around_it(billions, task, method, batch, optimizer):
    found = rates.decide(Query(billions, "llama", task, method, batch, optimizer))
    assert 1e-8 < found.value < 1
    assert found.range[0] <= found.value <= found.range[1]
    assert found.bands["50"] <= found.bands["80"] <= found.bands["90"]
    assert found.reason
    assert found.source


def test_lora_wants_about_ten_times_the_rate_of_full_training():
    lora, full = (rates.decide(Query(8, "llama", "sft", m, 32)).value for m in ("lora", "full"))
    assert 4 < lora / full < 25


def test_the_batch_factor_is_capped():
    assert rates.batch_factor(64, 16) == 2
    assert rates.batch_factor(10_000, 1) == table()["lr_batch_scaling"]["max_factor"]
    assert rates.batch_factor(4, 128) == 1 / 2.83
    assert rates.batch_factor(4, 128, floor=False) == pytest.approx(math.sqrt(4 / 128))
    assert rates.batch_factor(64, 32, "sgd") == 2


def test_a_rate_that_was_measured_here_names_its_bench():
    rate = rates.decide(Query(0.0227, "bert", "text-classification", "lora", 32))
    assert rate.source == "bench/results/classifier-start.md"
    assert not rate.disagree
