import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.errors import SpecError
from trimtab.planning import design
from trimtab.spec.recipe import Recipe

BASE = Recipe(
    model="m",
    data="d",
    learning_rate=3e-4,
    per_device_train_batch_size=4,
    gradient_accumulation_steps=2,
    weight_decay=0.1,
)


def test_a_scan_holds_everything_else_and_begins_with_the_recipe_as_it_is():
    made = design.scan(BASE, {"learning_rate": [1e-4, 3e-4, 1e-3], "r": [8]}, 2)
    assert [c.name for c in made.cells] == [
        "learning_rate 0.0003",
        "learning_rate 0.0001",
        "learning_rate 0.001",
        "r 8",
    ]
    assert made.baseline.recipe == BASE
    assert made.cells[1].recipe == BASE.but(learning_rate=1e-4)
    assert len({r.run_id for r in made.recipes()}) == 8
    assert not made.held


@given(st.lists(st.integers(1, 512), min_size=1, max_size=5, unique=True), st.sampled_from(["sqrt", "linear", "none"]))
def test_effective_batches_are_exact_and_what_moves_with_them_is_said(sizes, scale):
    made = design.batch(BASE, sizes, scale, 1)
    assert [c.recipe.effective_batch for c in made.cells] == [8, *(s for s in sizes if s != 8)]
    for cell in made.cells[1:]:
        k = cell.recipe.effective_batch / 8
        factor = {"sqrt": k**0.5, "linear": k, "none": 1.0}[scale]
        expected = min(8**0.5, max(8**-0.5, factor)) * 3e-4  # no rate is trusted beyond a factor of eight in batch
        assert cell.recipe.learning_rate == pytest.approx(expected, rel=0.05)
        assert cell.recipe.per_device_train_batch_size <= 4  # not more memory than the baseline
    assert "learning_rate" in made.held[0]
    assert len(made.cells) == 1 or "fewer steps" in made.held[-1]


def test_a_setting_that_is_named_twice_has_all_its_values():
    levels = design.read_levels(BASE, ["learning_rate=1e-4,1e-3", "learning_rate=1e-3,1e-2"])
    assert levels == {"learning_rate": [1e-4, 1e-3, 1e-2]}


def test_an_ablation_takes_one_part_away_at_a_time():
    made = design.ablate(BASE, ["weight_decay", "warmup", "scheduler"], 3)
    assert [c.name for c in made.cells] == ["as it is", "without weight_decay", "without warmup", "without scheduler"]
    assert made.cells[3].recipe == BASE.but(lr_scheduler_type="constant")
    with pytest.raises(SpecError, match='no "decay"; did you mean "weight_decay"'):
        design.ablate(BASE, ["decay", "dropout"], 1)
    with pytest.raises(SpecError, match="dropout: off already"):
        design.ablate(BASE, ["dropout"], 1)
    some = design.ablate(BASE, ["dropout", "warmup"], 1)
    assert [c.name for c in some.cells] == ["as it is", "without warmup"]
    assert "dropout is off already" in some.held[0]


def test_a_factorial_has_every_combination_and_the_middle():
    made = design.factorial(BASE, {"learning_rate": [1e-4, 1e-2], "r": [4, 16]}, 1)
    assert len(made.cells) == 5
    assert made.baseline.changed == {"learning_rate": 1e-3, "r": 8}
    without_middle = design.factorial(
        BASE, {"learning_rate": [1e-4, 1e-2], "lr_scheduler_type": ["cosine", "linear"]}, 1
    )
    assert len(without_middle.cells) == 4


def test_every_wrong_value_is_said_at_once():
    with pytest.raises(SpecError) as error:
        design.read_levels(BASE, ["learning_rat=1e-4", "r=0,x", "warmup_steps", "effective_batch=0"])
    assert len(error.value.problems) == 5
    assert 'did you mean "learning_rate"' in error.value.problems[0]
    assert design.read_levels(BASE, ["r=8,16,8", "learning_rate=1e-4"]) == {"r": [8, 16], "learning_rate": [1e-4]}
    with pytest.raises(SpecError, match="at least 2 different values"):
        design.read_levels(BASE, ["r=8"], fewest=2)


def test_seeds_are_counted_from_the_recipes_own():
    assert design.seeds_of(BASE.but(seed=2**31 - 1), 3) == (2**31 - 1, 0, 1)
    with pytest.raises(SpecError, match="at least 1"):
        design.repeat(BASE, 0)
