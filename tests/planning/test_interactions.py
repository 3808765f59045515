import dataclasses

import pytest

from tests.planning.test_plan import FACTS
from trimtab.planning import interactions
from trimtab.planning.plan import make_plan


@pytest.mark.parametrize(("name", "facts", "own"), [
    ("rate-batch", {}, {"learning_rate": 5e-4, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}),
    ("epochs-few-data", {"examples": 1000, "device": "cpu"}, {"num_train_epochs": 8}),
    ("duplicates-epochs", {"duplicates": 0.2}, {"num_train_epochs": 3}),
    ("cutoff-memory", {}, {"per_device_train_batch_size": 1, "gradient_checkpointing": True}),
    ("lora-timid", {}, {"learning_rate": 2e-5, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 8}),
    ("full-bold", {}, {"method": "full", "learning_rate": 2e-4}),
    ("lora-large-batch", {}, {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 32}),
    ("rank-few-data", {"examples": 800}, {"r": 128}),
    ("short-answers", {"label_tokens": 100_000, "instruct": True}, {"num_train_epochs": 4}),
    ("full-instruct", {"instruct": True}, {"method": "full"}),
    ("cut-answers", {}, {"max_length": 256}),
    ("few-steps", {}, {"num_train_epochs": 0.02}),
])  # fmt: skip
def test_each_row_fires_where_its_words_say_and_not_on_a_plain_plan(name, facts, own):
    found = dataclasses.replace(FACTS, **facts)
    assert name in {c.id for c in make_plan(found, own).couplings}
    assert name not in {c.id for c in make_plan(FACTS).couplings}


def test_every_row_says_what_may_happen_where_it_shows_and_how_sure_it_is():
    assert len({c.id for c, _ in interactions.TABLE}) == len(interactions.TABLE) >= 10
    for coupling, _ in interactions.TABLE:
        assert coupling.may
        assert coupling.shows
        assert coupling.source
        assert coupling.sure in (interactions.MEASURED, interactions.REPORTED, interactions.HYPOTHESIS)


def test_what_is_recommended_in_the_end_is_looked_at_with_the_plans_ranges():
    plan = make_plan(FACTS)
    moved = {
        **plan.recipe.model_dump(),
        "learning_rate": 1e-3,
        "gradient_accumulation_steps": 1,
        "per_device_train_batch_size": 4,
    }
    assert {c.id for c in interactions.of_recipe(moved, FACTS, plan.settings)} >= {"rate-batch"}
    assert interactions.of_recipe(plan.recipe.model_dump(), FACTS, plan.settings) == list(plan.couplings)
