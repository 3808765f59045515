"""The models that a worker holds: one base at a time, loaded anew exactly when a recipe needs another."""

from types import SimpleNamespace

import pytest

from trimtab.errors import RunError
from trimtab.run.machine import Machine
from trimtab.spec.recipe import Recipe
from trimtab.workers.model_cache import ModelCache

LORA = Recipe(model="m", data="d")
FAST = Machine("cpu", "test", 1, 1, 2**30, True)  # computes bfloat16 fast


@pytest.fixture
def loads():
    return []


@pytest.fixture
def cache(loads):
    def load_base(model, dataset, processor, full, bf16, device, say):  # noqa: ARG001
        loads.append((model, processor, full, bf16))
        return SimpleNamespace(name=model, begin=lambda _recipe: None)

    task = SimpleNamespace(load_base=load_base, processor=lambda model, say: f"processor of {model}")  # noqa: ARG005
    return lambda **how: ModelCache(task, "m", FAST, print, **how)


def test_a_base_is_shared_by_what_trains_on_it_alike(cache, loads):
    models = cache()
    one = models.base(LORA)
    assert models.base(LORA.but(learning_rate=1e-3, r=4, bf16=True)) is one  # null is what this machine does fast
    assert models.base() is one
    assert loads == [("m", "processor of m", False, True)]
    models.base(LORA.but(bf16=False))
    models.base(LORA.but(method="full"))
    assert [load[2:] for load in loads[1:]] == [(False, False), (True, True)]


def test_only_one_is_held(cache, loads):
    """A and B in turn are loaded four times: two at once may not fit."""
    models = cache()
    for recipe in (LORA, LORA.but(method="full")) * 2:
        models.base(recipe)
    assert len(loads) == 4


def test_the_untouched_base_is_loaded_as_the_runs_will_train_it(cache, loads):
    models = cache(method="full", bf16=False)
    assert models.base() is models.base(LORA.but(method="full", bf16=False))
    assert loads == [("m", "processor of m", True, False)]


def test_a_base_that_was_moved_is_no_base_any_more(cache, loads):
    models = cache()
    first = models.base(LORA)
    models.moved()
    assert models.base(LORA) is not first
    assert len(loads) == 2


def test_a_finished_run_is_its_own_model_or_was_never_finished(cache, loads, tmp_path):
    models, full = cache(), LORA.but(method="full")
    base, adapter = models.tuned(full, tmp_path)
    assert (base.name, adapter) == (str(tmp_path), None)
    assert loads == [(str(tmp_path), "processor of m", True, True)]  # and the base was not needed
    with pytest.raises(RunError, match=f"run {full.run_id} has no saved weights in"):
        models.tuned(full, tmp_path / "none")


def test_a_judge_has_a_processor_of_its_own_and_stands_beside(cache, loads):
    models = cache()
    base = models.base(LORA)
    models.other("judge")
    assert loads[1] == ("judge", "processor of judge", False, True)
    assert models.base(LORA) is base
