import pytest

from tests.tuning.fake_trainer import desk_of
from trimtab.errors import SpecError
from trimtab.spec.recipe import Recipe
from trimtab.tuning.ablation_path import AblationPath, differences

FIRST = Recipe(model="m", data="d", learning_rate=1e-4, num_train_epochs=1, per_device_train_batch_size=4)


def walk(tmp_path, last):
    desk = desk_of(tmp_path, "path")
    return AblationPath(desk, FIRST, last).run(), desk.store


def test_the_change_that_lowers_the_loss_most_goes_first(tmp_path):
    """In the fake the rate matters most, then the epochs, the batch hardly."""
    last = FIRST.but(learning_rate=1e-3, num_train_epochs=3, per_device_train_batch_size=8)
    found, store = walk(tmp_path, last)
    assert [s["setting"] for s in found["steps"]] == ["learning_rate", "num_train_epochs", "effective_batch"]
    assert found["steps"][-1]["run"] == last.run_id
    assert found["steps"][0]["loss"] == pytest.approx(found["steps"][1]["from"])
    assert "the largest step is learning_rate" in found["sentence"]
    assert len(store.runs()) == 2 + 3 + 2  # both ends, three changes alone, two of them together with the first


def test_runs_that_cannot_be_joined():
    with pytest.raises(SpecError, match="a path needs two settings or more"):
        differences(FIRST, FIRST.but(r=4))
    with pytest.raises(SpecError, match="differ in seed"):
        differences(FIRST, FIRST.but(r=4, seed=2))
