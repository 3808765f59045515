import pytest

from trimtab.errors import SpecError
from trimtab.planning.setting import Setting
from trimtab.planning.space import Dimension, of_plan, read_space
from trimtab.spec.recipe import Recipe

BASE = Recipe(model="m", data="d")


def written(tmp_path, text):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return path


def test_lists_and_ranges_are_read(tmp_path):
    path = written(
        tmp_path, "learning_rate: {low: 1e-5, high: 1e-3, log: true}\nr: [4, 8]\nnum_train_epochs: {low: 1, high: 3}\n"
    )
    rate, r, epochs = read_space(path, BASE)
    assert rate == Dimension("learning_rate", low=1e-5, high=1e-3, log=True)
    assert r.ends() == (4, 8)
    assert epochs.whole


def test_every_problem_is_said_at_once(tmp_path):
    text = (
        "learning_rat: [1e-4]\nr: {low: 8, high: 4}\nweight_decay: {low: 0, high: 0.1, log: true}\nlearning_rate:"
        " 3\nlora_dropout: {low: 0.0, hig: 1}\nlora_alpha: {low: -1.0, high: 2.0}\n"
    )
    with pytest.raises(SpecError) as error:
        read_space(written(tmp_path, text), BASE)
    said = "\n".join(error.value.problems)
    for part in (
        'did you mean "learning_rate"',
        "low must be below high",
        "must be above 0",
        "got 3; give a list",
        "give a list of values, or {low",
        "greater than 0",
    ):
        assert part in said


def test_the_plans_ranges_are_the_space_where_none_is_given():
    def setting(value, low, high):
        return Setting(value, "why", "source", (low, high))

    plan = {
        "learning_rate": setting(3e-4, 1e-4, 1e-3),
        "effective_batch": setting(16, 8, 64),
        "r": setting(16, 8, 8),
        "weight_decay": setting(0, 0, 0.1),
    }
    rate, batch, decay = of_plan(plan, BASE)
    assert rate.log
    assert batch.values == (8, 16, 32, 64)
    assert not decay.log
