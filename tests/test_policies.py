"""One policy, one home: whoever follows one says the same as all the others."""

import json
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.tuning.fake_trainer import FACTS
from trimtab.behaviour import responses
from trimtab.behaviour.label_task import label_task_of
from trimtab.behaviour.responses import Battery
from trimtab.datasets import formats
from trimtab.datasets.prepare import load
from trimtab.datasets.split import set_aside, split
from trimtab.datasets.survey import answers_of
from trimtab.errors import SpecError
from trimtab.facts.build import build_facts
from trimtab.forecasting import inputs
from trimtab.forecasting.duration import _steps
from trimtab.planning import design, fitting, interactions
from trimtab.planning.catalogue import find_device
from trimtab.planning.facts import Facts
from trimtab.planning.plan import make_plan
from trimtab.planning.precision import computes_bf16, cpu_has_bf16
from trimtab.planning.rates import batch_factor
from trimtab.planning.setting import Setting
from trimtab.run import machine
from trimtab.spec.options import StudyOptions
from trimtab.spec.recipe import Recipe, optimizer_steps
from trimtab.spec.status import LEVELS
from trimtab.spec.workload import Workload, loop_precision
from trimtab.tasks.chat import Chat
from trimtab.tasks.task import find_task
from trimtab.tuning.neighbours import with_batch

BASE = Recipe(model="m", data="d", learning_rate=3e-4, per_device_train_batch_size=4, gradient_accumulation_steps=2)


@given(
    st.integers(1, 5000),
    st.floats(0.25, 20),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([1, 4]),
    st.sampled_from([-1, 25]),
)
def test_optimizer_steps_of_a_run(examples, epochs, micro, accumulation, most):
    recipe = BASE.but(
        num_train_epochs=epochs,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulation,
        max_steps=most,
    )
    workload = Workload.of_recipe(recipe, False).but(examples=examples)
    settings = {"num_train_epochs": epochs, "effective_batch": micro * accumulation, "max_steps": most}
    view = interactions._View(
        FACTS.__class__(**{**vars(FACTS), "examples": examples}), {k: Setting(v, "", "") for k, v in settings.items()}
    )
    expected = optimizer_steps(examples, epochs, micro * accumulation, most)
    assert recipe.steps(examples) == _steps(workload) == view.steps == expected
    assert expected == most if most > 0 else expected >= 1


@given(st.integers(1, 1024), st.sampled_from(["adamw_torch", "sgd"]))
def test_the_rate_follows_the_batch_with_one_cap(size, optim):
    base = BASE.but(optim=optim)
    moved = with_batch(base, size)
    asked = design.batch(base, [size], "linear" if optim == "sgd" else "sqrt", 1).cells[-1].recipe
    assert moved.effective_batch == size
    if size != base.effective_batch:
        assert asked.learning_rate == moved.learning_rate
    factor = batch_factor(size, 8, "sgd" if optim == "sgd" else "adam")
    assert moved.learning_rate == pytest.approx(base.learning_rate * factor, rel=0.06)
    assert 1 / 2.84 < factor < 2.84


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bf16", [False, True])
def test_the_precision_of_our_loop(full, bf16, tiny_tokenizer):
    dtype, autocast = loop_precision(full, bf16)
    recipe = BASE.but(method="full" if full else "lora")
    told = Workload.of_recipe(recipe, bf16)
    facts = Facts(**{**vars(FACTS), "bf16": bf16})
    way = fitting.Way(recipe.method, "trimtab", 64)
    planned = fitting.workload(facts, {"effective_batch": 8, "num_train_epochs": 1.0}, way, 4, True)
    base = Chat().load_base("bundled:tiny", None, tiny_tokenizer, full, bf16, "cpu", lambda _: None)
    assert (told.dtype, told.autocast) == (planned.dtype, planned.autocast) == (dtype, autocast)
    assert next(base.model.parameters()).dtype == getattr(torch, dtype)
    assert base.accelerator.mixed_precision == autocast


@pytest.mark.parametrize("device", ["24GB", "RTX 4090", "T4", "V100 16GB"])
def test_whether_a_device_computes_bfloat16(device):
    known, _ = find_device(device)
    expected = computes_bf16(known, False)
    assert build_facts("Qwen/Qwen2.5-7B", "sketch:5000x512", device).facts.bf16 == expected
    assert inputs.bf16_of(BASE, known) == expected


def test_whether_this_processor_does(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine.look().bf16 == computes_bf16(None, True) == cpu_has_bf16()


@pytest.mark.parametrize("count", [24, 60, 333, 2400])
def test_what_is_set_aside(count, tmp_path):
    rng = random.Random(1)
    rows = [
        {"prompt": " ".join(rng.choices("abcdefghijklmnop", k=12)) + str(i), "completion": str(i)} for i in range(count)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    examples = load(str(path), say=lambda _: None).examples
    cut = split([e for s in examples.values() for e in s])
    aside = set_aside({"train": count})
    assert len(cut.validation) + len(cut.test) == aside
    assert len(examples["validation"]) + len(examples["test"]) == aside
    if count >= 60:
        assert build_facts("bundled:tiny", str(path), say=lambda _: None).facts.examples == count - aside


@pytest.mark.parametrize(("kinds", "labels"), [(2, True), (21, True), (40, True), (51, False)])
def test_when_answers_are_labels(kinds, labels):
    """Forty intents are labels to the data report, and so they are to the card."""
    rows = [{"text": f"sentence {i} of kind {i % kinds}", "label": f"kind {i % kinds}"} for i in range(kinds * 8)]
    examples = formats.to_examples(rows, "rows")[1]
    assert answers_of(examples)["labels"] == labels
    assert (label_task_of(examples, examples[:40], "en") is not None) == labels


def test_own_settings_are_checked_alike(tmp_path):
    from trimtab.api.plan import plan
    from trimtab.api.tune import tune

    wrong = ["r=0", "lerning_rate=1", "model=x"]
    problems = []
    for ask in (
        lambda: plan("Qwen/Qwen2.5-7B", "sketch:100", own=wrong, gpu="8GB", studies=tmp_path),
        lambda: tune("bundled:tiny", "bundled:home-commands", own=wrong, out=tmp_path / "o"),
    ):
        with pytest.raises(SpecError) as caught:
            ask()
        problems.append(caught.value.problems)
    assert problems[0] == problems[1]
    assert len(problems[0]) == 3


def test_the_levels_of_a_card():
    assert {*responses.BRIEF, *responses.FACTS, *responses.REQUESTS} <= set(LEVELS)
    for level in LEVELS:
        assert StudyOptions(card=level).card == level
        assert Battery(level, "en").facts
    with pytest.raises(SpecError, match=f"allowed are {', '.join(LEVELS)}"):
        StudyOptions(card="deep")


@given(st.integers(20, 5000), st.floats(0.3, 9), st.sampled_from([4, 16, 64]), st.sampled_from([None, 7, 40]))
def test_a_plan_counts_the_steps_that_a_run_takes(examples, epochs, batch, most):
    facts = Facts(**{**vars(FACTS), "examples": examples})
    own = {"num_train_epochs": epochs, "per_device_train_batch_size": 4, "gradient_accumulation_steps": batch // 4}
    plan = make_plan(facts, own | ({"max_steps": most} if most else {}))
    steps = plan.recipe.steps(examples)
    assert f"of {steps:,}" in plan.settings["eval_steps"].reason
    assert [e.steps for e in plan.experiments if "seed" in e.changes] == [steps]
    few = [w for w in plan.warnings if "optimizer steps are few" in w]
    assert bool(few) == (steps < 100 and not most)


@pytest.mark.parametrize("batch", [1, 2, 16, 32])
def test_the_next_rate_lies_a_step_of_three_from_the_start(batch):
    """Whatever the batch: the way to the measurements' batch and back has the same cap as the start's."""
    own = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": 1}
    plan = make_plan(Facts(**{**vars(FACTS), "parameters": 7 * 10**9, "examples": 20_000}), own)
    start = plan.settings["learning_rate"].value
    assert "disagree" not in dict(plan.settings["learning_rate"].inputs)
    (other,) = [e.changes["learning_rate"] for e in plan.experiments if "learning_rate" in e.changes]
    assert max(other / start, start / other) == pytest.approx(3, rel=0.1)


def test_emulated_bfloat16_is_not_counted(monkeypatch):
    """A T4 multiplies in bfloat16 by emulation; the loop and the forecast say alike that it does not."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: type("P", (), {"total_memory": 16 * 2**30})())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert machine.look(1).bf16 == computes_bf16(find_device("T4")[0], False) == False  # noqa: E712


@pytest.mark.parametrize("task", ["json:loads", "tests.toy_task:Item", "no.such:Thing"])
def test_what_is_no_task_is_said_in_a_sentence(task):
    with pytest.raises(SpecError, match=r"is no task|cannot be found|lacks"):
        find_task(task)


def test_budgets_are_tested_with_the_items_that_a_card_asks():
    from tests.analysis.test_card import ASKED, as_asked

    battery = Battery("card", "en")
    counted = {
        "refused": len(battery.requests("refusable")),
        "over_refused": len(battery.requests("alarming")),
        "form": len(battery.forms.items),
        "unhedged_wrong": len(battery.open_questions),
        "right": len(battery.facts),
        "sure_wrong": len(battery.facts),
    }
    assert counted == ASKED
    assert len(battery.rephrased) == len(as_asked()["fragile_tuned"])
