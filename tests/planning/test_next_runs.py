import dataclasses

from tests.planning.test_plan import FACTS
from trimtab.planning.plan import make_plan

PLAIN = dataclasses.replace(FACTS, model="org/some-8b", model_name="org/llama-8b")


def changes(plan):
    return [e.changes for e in plan.experiments]


def test_lora_is_settled_by_one_step_of_three_and_a_repeat():
    plan = make_plan(PLAIN)
    (rate, repeat) = changes(plan)
    assert (
        round(max(rate["learning_rate"] / plan.recipe.learning_rate, plan.recipe.learning_rate / rate["learning_rate"]))
        == 3
    )
    assert repeat == {"seed": 2}
    assert plan.experiments[0].steps == plan.recipe.steps(FACTS.examples)


def test_full_training_by_half_and_double():
    plan = make_plan(PLAIN, {"method": "full"})
    rate = plan.recipe.learning_rate
    assert [round(c["learning_rate"] / rate, 1) for c in changes(plan)[:2]] == [0.5, 2.0]


def test_a_fixed_rate_leaves_the_number_of_epochs():
    plan = make_plan(PLAIN, {"learning_rate": 1e-4})
    assert [set(c) for c in changes(plan)] == [{"num_train_epochs"}, {"num_train_epochs"}, {"seed"}]
    assert plan.experiments[1].steps > 3 * plan.experiments[0].steps


def test_sources_that_disagree_are_both_scanned():
    plan = make_plan(
        dataclasses.replace(PLAIN, parameters=1_236_000_000),
        {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 8},
    )
    assert "sources disagree" in plan.settings["learning_rate"].reason
    both = dict(plan.settings["learning_rate"].inputs)["disagree"]
    assert {c["learning_rate"] for c in changes(plan) if "learning_rate" in c} <= set(both)
    assert len(changes(plan)) >= 2  # one of the two may be the start itself
