import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trimtab.spec.recipe import Recipe, can_share_base

BASE = Recipe(model="m", data="d")


def test_seed_is_not_part_of_the_hash_but_of_the_run():
    assert BASE.hash == BASE.but(seed=9).hash
    assert BASE.run_id != BASE.but(seed=9).run_id


def test_any_other_setting_changes_the_hash():
    changed = {"learning_rate": 1e-5, "r": 3, "optim": "sgd", "bf16": True, "max_length": 9, "method": "full"}
    assert len({BASE.but(**{k: v}).hash for k, v in changed.items()} | {BASE.hash}) == len(changed) + 1


def test_it_is_frozen():
    with pytest.raises(ValidationError):
        BASE.learning_rate = 1.0  # type: ignore[misc]


@given(
    st.integers(1, 5000),
    st.integers(1, 16),
    st.integers(1, 8),
    st.floats(0.1, 10),
    st.sampled_from([1.0, 0.5, 0.25, 0.1]),
)
def test_steps_and_evaluations(examples, micro, accumulation, epochs, every):
    recipe = BASE.but(per_device_train_batch_size=micro, gradient_accumulation_steps=accumulation,
                      num_train_epochs=epochs, eval_steps=every)  # fmt: skip
    per_epoch = -(-examples // recipe.effective_batch)
    assert recipe.steps(examples) == max(1, round(epochs * per_epoch))
    shares = recipe.evaluations()
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_who_can_share_a_base():
    assert can_share_base(BASE, BASE.but(learning_rate=1e-5, r=2, per_device_train_batch_size=1, seed=4))
    assert not can_share_base(BASE, BASE.but(max_length=100))
    assert not can_share_base(BASE.but(method="full"), BASE.but(method="full"))
