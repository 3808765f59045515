"""Which remedies a run has, and in what order."""

import pytest

from trimtab.planning.remedies import held_by, ladder, places_of
from trimtab.spec.recipe import Recipe

MODULES = [f"model.layers.{i}.self_attn.{n}_proj" for i in range(30) for n in "qkvo"] + ["model.layers.3.mlp.up_proj"]
RUN = Recipe(model="m", data="d", learning_rate=6e-4, r=16, lora_alpha=32.0)


def test_cheapest_first_and_every_remedy_is_another_recipe():
    rungs = ladder(RUN, places_of(MODULES))
    assert [r.name for r in rungs] == ["dose", "smaller steps", "anchor", "where"]
    assert [r.trained for r in rungs] == [False, True, True, True]
    tried = [m.recipe for r in rungs[1:] for m in r.remedies]
    assert RUN not in tried
    assert len({r.run_id for r in tried}) == len(tried) == 8
    assert tried[0].learning_rate == 2e-4
    assert tried[1].num_train_epochs == 0.5


def test_places_are_read_off_the_names_of_an_adapter():
    assert places_of(MODULES) == places_of(MODULES[::-1])
    assert places_of(MODULES).layers == 30
    assert places_of(MODULES).attention == ("k_proj", "o_proj", "q_proj", "v_proj")
    upper = next(m.recipe for r in ladder(RUN, places_of(MODULES)) for m in r.remedies if m.recipe.layers_to_transform)
    assert upper.layers_to_transform == list(range(15, 30))


@pytest.mark.parametrize("changes", [{"method": "full"}, {"kl_weight": 1.0, "replay_share": 0.25}, {"r": 1}])
def test_what_a_run_has_or_cannot_have_is_left_out(changes):
    rungs = ladder(RUN.but(**changes), places_of(MODULES))
    names = [r.name for r in rungs]
    assert ("dose" in names) == ("method" not in changes)
    assert ("anchor" in names) == ("kl_weight" not in changes)
    assert not any(m.recipe.run_id == RUN.but(**changes).run_id for r in rungs[1:] for m in r.remedies)


def test_half_the_rank_keeps_the_scale():
    (half,) = [m.recipe for r in ladder(RUN, places_of([])) for m in r.remedies if m.recipe.r != RUN.r]
    assert half.lora_alpha / half.r == RUN.lora_alpha / RUN.r


def test_an_earlier_checkpoint_is_a_remedy_where_one_was_inside():
    (smaller,) = [r for r in ladder(RUN, places_of(MODULES), earlier=40) if r.name == "smaller steps"]
    assert [m.recipe.stop_at_step for m in smaller.remedies] == [0, 0, 40]


def test_a_run_that_ends_before_its_schedule_is_not_halved_besides():
    short = RUN.but(max_steps=40, stop_at_step=30)
    (smaller,) = [r for r in ladder(short, places_of(MODULES)) if r.name == "smaller steps"]
    assert [m.recipe.stop_at_step for m in smaller.remedies] == [30]


def test_a_task_without_prompts_of_its_own_is_not_held_to_its_base():
    names = [r.name for r in ladder(RUN.but(task="tests.toy_task:Toy"), places_of(MODULES))]
    assert "anchor" not in names


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"kl_weight": 1.0, "adapter_scale": 0.85}, "kl_weight 1, 0.85 of the adapter"),
        ({"replay_share": 0.25}, "replay_share 0.25"),
        ({"layers_to_transform": [4, 5, 6]}, "layers 4 to 6"),
        ({"target_modules": ["q_proj", "v_proj"]}, "q_proj, v_proj only"),
        ({"stop_at_step": 40}, "the checkpoint of step 40"),
    ],
)  # fmt: skip
def test_what_holds_a_recipe_is_said_in_words(changes, words):
    assert held_by(RUN.but(**changes)) == words
