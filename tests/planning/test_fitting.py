"""Plans against the real forecast (closed form), and against a card of any size: what must always hold."""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.errors import PlanError
from trimtab.forecasting.forecaster import forecaster
from trimtab.planning.catalogue import GIB, Device, find_model
from trimtab.planning.facts import Facts
from trimtab.planning.plan import make_plan

MODELS = (
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "Qwen/Qwen2.5-0.5B-Instruct",
    "meta-llama/Llama-3.2-1B-Instruct",
    "Qwen/Qwen2.5-7B-Instruct",
    "meta-llama/Llama-3.1-70B",
)
METHODS = ("auto", "lora", "qlora", "full")


def situation(model, examples, longest, gb, devices=1, task="sft"):
    known, mean = find_model(model), max(1, longest // 4)
    device = Device(f"{gb} GB card", int(gb * GIB))
    facts = Facts(
        model=model,
        model_name=model,
        family=known.config["model_type"],
        parameters=known.parameters,
        hidden_size=known.config["hidden_size"],
        positions=known.positions,
        data="d",
        examples=examples,
        tokens=examples * mean,
        label_tokens=examples * mean // 2,
        length_99=longest,
        length_max=longest,
        labels_longest=longest // 2,
        device="cuda",
        memory_gib=gb,
        bf16=True,
        devices=devices,
        device_name=device.name,
        task=task,
    )
    return facts, forecaster(device, instant=True)


cases = st.tuples(
    st.sampled_from(MODELS),
    st.integers(50, 200_000),
    st.sampled_from([64, 300, 1024, 4096, 9000]),
    st.sampled_from([6, 8, 12, 16, 24, 48, 80, 141]),
    st.sampled_from([1, 1, 2, 3, 8]),
)
many = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@many
@given(cases, st.sampled_from(METHODS))
def test_every_plan_fits_its_card_and_its_batch_is_exact(case, method):
    facts = situation(*case)[0]
    plan = _plan(situation(*case), method)
    if plan is None:
        return
    assert plan.forecast.fits
    v = plan.value
    assert v("per_device_train_batch_size") * v("gradient_accumulation_steps") * facts.devices == v("effective_batch")
    assert v("max_length") <= (facts.positions or v("max_length"))
    if plan.recipe:
        assert plan.recipe.effective_batch == v("effective_batch")


@many
@given(cases, st.sampled_from(METHODS), st.sampled_from([1.3, 2.0, 4.0]))
def test_more_memory_never_shortens_the_cutoff_or_shrinks_the_batch(case, method, factor):
    model, examples, longest, gb, devices = case
    small = _plan(situation(model, examples, longest, gb, devices), method)
    large = _plan(situation(model, examples, longest, gb * factor, devices), method)
    if small is None:
        return
    assert large is not None
    assert large.value("max_length") >= small.value("max_length")
    assert large.value("effective_batch") == small.value("effective_batch")
    same = ("method", "trainer", "use_liger_kernel", "sharding", "optim", "max_length", "gradient_checkpointing")
    # states that lie in the processor's memory leave the small card more room than the large one has
    alike = large.settings.keys() == small.settings.keys()
    if alike and all(large.value(n) == small.value(n) for n in same):
        assert large.value("per_device_train_batch_size") >= small.value("per_device_train_batch_size")


@many
@given(cases, st.integers(1, 12), st.booleans())
def test_a_persons_micro_batch_and_checkpointing_stand(case, micro, recompute):
    facts, ask = situation(*case)
    own = {"per_device_train_batch_size": micro, "gradient_checkpointing": recompute}
    plan = _plan((facts, ask), "lora", own)
    if plan is None:
        return
    assert plan.value("per_device_train_batch_size") == micro
    assert plan.value("gradient_checkpointing") is recompute
    assert plan.forecast.fits
    assert plan.value("effective_batch") == micro * plan.value("gradient_accumulation_steps") * facts.devices


def _plan(of, method, own=()):
    """None where nothing fits."""
    facts, ask = of
    try:
        return make_plan(facts, {"method": method, **dict(own)}, ask)
    except PlanError:
        return None


def test_where_nothing_fits_the_nearest_that_would_work_is_named():
    facts, ask = situation(MODELS[4], 5000, 4096, 24)
    with pytest.raises(PlanError, match=r"24 GB card \(24.0 GiB\).*: a card of 80 GB, or a model of about \d+B"):
        make_plan(facts, {}, ask)
    facts, ask = situation("Qwen/Qwen2.5-32B-Instruct", 5000, 1024, 24)
    with pytest.raises(PlanError, match=r"a card of \d+ GB, \d cards like this one, or a model") as error:
        make_plan(facts, {}, ask)
    count = int(str(error.value).split(" cards like")[0].rsplit(" ", 1)[1])
    assert make_plan(dataclasses.replace(facts, devices=count), {}, ask).forecast.fits  # what is named does work


@pytest.mark.parametrize("devices", [2, 4, 8])
def test_more_cards_fit_what_one_does(devices):
    """All weights of a 7B model: one card puts them into host memory, and so may several."""
    facts, ask = situation("Qwen/Qwen2.5-7B-Instruct", 5000, 2048, 24)
    assert make_plan(facts, {"method": "full"}, ask).forecast.fits
    assert make_plan(dataclasses.replace(facts, devices=devices), {"method": "full"}, ask).forecast.fits


def test_auto_prefers_lora_and_takes_four_bits_only_where_it_must():
    assert _plan(situation(MODELS[3], 5000, 2048, 48), "auto").value("method") == "lora"
    tight = _plan(situation(MODELS[3], 5000, 2048, 12), "auto")
    assert tight.value("method") == "qlora"
    assert tight.value("trainer") == "transformers"
    assert tight.recipe is None


def test_a_cutoff_is_shortened_last_and_only_as_far_as_needed():
    facts, ask = situation(MODELS[3], 5000, 4096, 8)
    plan = make_plan(facts, {}, ask)
    assert plan.value("max_length") < 4096
    assert plan.value("use_liger_kernel")
    assert "no longer fits" in plan.settings["max_length"].reason
    assert any("cut from the answer's end" in w for w in plan.warnings)
    with pytest.raises(PlanError, match="your max_length stands in the way"):
        make_plan(facts, {"max_length": 4096}, ask)


def test_pairs_of_answers_are_forecast_as_pairs():
    one, two = (_plan(situation(MODELS[3], 5000, 2048, 80, task=t), "lora") for t in ("sft", "dpo"))
    assert two.forecast.workload["per_device_train_batch_size"] == 2 * two.value("per_device_train_batch_size")
    assert one.recipe is not None
    assert two.recipe is None


def test_offload_names_the_host_memory():
    plan = _plan(situation(MODELS[4], 20_000, 2048, 24), "full")
    assert (plan.value("sharding"), plan.value("offload")) == ("zero3", True)
    assert any("1,270 GB" in w for w in plan.warnings)


def test_a_card_without_bfloat16_trains_in_float16_elsewhere_and_float32_here():
    facts, ask = situation(MODELS[2], 2000, 1024, 48)
    plan = make_plan(dataclasses.replace(facts, bf16=False), {}, ask)
    assert plan.forecast.workload["dtype"] == "float32"
    assert plan.value("bf16") is False
