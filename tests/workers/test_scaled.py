"""A share of an adapter, handed over without training it again; real training on the tiny model."""

import json

import pytest
import torch
from peft import PeftModel

from tests.workers.test_worker import NO_DRIFT, WILD, worker  # noqa: F401
from trimtab.errors import SpecError
from trimtab.run.checkpoint import load_adapter
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Status
from trimtab.spec.yaml_file import check
from trimtab.tasks.pretrained import load_model


@pytest.fixture
def trained(worker, recipe):  # noqa: F811
    w = worker()
    half = recipe.but(adapter_scale=0.5, **WILD)
    return w, half, w.train([half])[0]


def test_the_whole_run_is_trained_once_and_the_share_never(trained):
    w, half, outcome = trained
    assert w.store.steps(half.whole.run_id)
    assert not w.store.steps(half.run_id)
    w._train_whole = None  # nothing may be trained again
    quarter, none = w.train([half.but(adapter_scale=0.25), half.but(adapter_scale=0.0)])
    assert {quarter.status, none.status, outcome.status} == {Status.COMPLETE}
    assert none.loss == pytest.approx(sum(w.untouched(half.whole)) / len(none.items), abs=1e-6)
    assert len({none.loss, quarter.loss, outcome.loss}) == 3


def test_its_evaluation_is_of_what_peft_loads(trained):
    w, half, outcome = trained
    best = w.store.folder / "runs" / half.run_id / "best"
    assert json.loads((best / "adapter_config.json").read_text())["lora_alpha"] == half.lora_alpha / 2
    plain = PeftModel.from_pretrained(load_model("bundled:tiny", torch.float32, "cpu"), str(best))
    item = w.encoded(half).splits["validation"][0]
    with torch.no_grad():
        logits = plain(input_ids=torch.tensor([item.ids])).logits[0, :-1]
    learned = torch.tensor(item.labelled[1:])
    losses = torch.nn.functional.cross_entropy(logits, torch.tensor(item.ids[1:]), reduction="none")[learned]
    assert outcome.items[0] == pytest.approx(float(losses.mean()), abs=1e-5)


def test_a_pulse_of_the_share_lies_below_the_whole_s(trained):
    w, half, _ = trained
    drift = [w.store.evaluations(r.run_id)[-1]["pulse"]["kl_pulse"] for r in (half, half.whole)]
    assert 0 < sum(drift[0]) < sum(drift[1])


def test_a_share_of_a_run_that_left_the_budget_is_measured(worker, recipe):  # noqa: F811
    w = worker(NO_DRIFT)
    none = recipe.but(adapter_scale=0.0, **WILD)
    (outcome,) = w.train([none])
    assert w.store.run(none.whole.run_id).status == Status.STOPPED
    assert outcome.breach is None
    assert outcome.eligible


def test_only_an_adapter_has_shares():
    with pytest.raises(SpecError, match="adapter_scale: only an adapter has this, and method is full"):
        check(Recipe, {"model": "m", "data": "d", "method": "full", "adapter_scale": 0.5}, "x")


def test_layers_to_transform_is_peft_s(tiny_base, recipe, tmp_path, small_data):
    from trimtab.errors import ModelError
    from trimtab.run.checkpoint import export
    from trimtab.run.cohort import Cohort

    upper = Cohort(tiny_base, [recipe.but(layers_to_transform=[1])], small_data).members[0]
    assert {n.split(".")[2] for n in upper.adapter.A} == {"1"}
    export(upper, tiny_base, tmp_path / "best")
    assert set(load_adapter(tmp_path / "best", tiny_base).A) == set(upper.adapter.A)
    with pytest.raises(ModelError, match="layers_to_transform: 7 not in this model; it has layers 0 to 1"):
        Cohort(tiny_base, [recipe.but(layers_to_transform=[1, 7])], small_data)
