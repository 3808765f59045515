import json
import subprocess
import sys

import pytest

from tests.datasets.test_similarity import OTHER
from tests.datasets.test_survey import PLAIN
from trimtab.api import plan
from trimtab.datasets.similarity import profile
from trimtab.errors import SpecError
from trimtab.facts import earlier
from trimtab.spec.study import TuneAsked
from trimtab.store import Store

SEVEN = "Qwen/Qwen2.5-7B-Instruct"


def test_a_plan_is_plain_data_with_everything_in_it():
    found = plan.plan(SEVEN, "sketch:5000x2048", gpu="RTX 4090", instant=True, studies="nowhere")
    json.dumps(found)
    for row in found["settings"]:
        assert row["reason"], row
        assert row["source"], row
    assert found["forecast"]["fit"] == "fits"
    assert len(found["precedents"]) == 5
    assert all(p["repository"] and p["link"] and p["learning_rate"] for p in found["precedents"])
    assert all(e["seconds"] for e in found["experiments"])


def test_risk_and_task_lean_the_rate_and_say_so():
    def rate(**more):
        found = plan.plan(SEVEN, "sketch:5000x2048", gpu="48GB", instant=True, studies="nowhere", **more)
        return {r["setting"]: r for r in found["settings"]}["learning_rate"]

    plain = rate()["value"]
    assert rate(risk="tight")["value"] == pytest.approx(plain / 2, rel=0.06)
    assert rate(task="simple")["value"] == pytest.approx(plain * 2, rel=0.06)
    assert "not measured" in rate(task="complex")["reason"]


def test_all_problems_of_ones_own_settings_come_at_once():
    with pytest.raises(SpecError) as caught:
        plan.plan(SEVEN, "sketch:100", own=["r=0", "lerning_rate=1", "model=x"], gpu="8GB", studies="nowhere")
    assert len(caught.value.problems) == 3
    with pytest.raises(SpecError, match="allowed are auto, full, lora, qlora"):
        plan.plan(SEVEN, "sketch:100", method="dora")
    with pytest.raises(SpecError, match="allowed are tight, standard, loose"):
        plan.plan(SEVEN, "sketch:100", risk="reckless")


def test_precedents_of_a_model_outside_the_catalogue_need_only_its_size():
    found = plan.precedents("someone/my-llama-9b-chat", method="qlora", count=4)
    assert (found["billions"], found["family"]) == (9.0, "llama")
    assert len(found["rows"]) == 4
    low, middle, high = found["quartiles"]["learning_rate"]
    assert low <= middle <= high
    assert plan.precedents("x/encoder-110m", method="full", task="classification")["billions"] == pytest.approx(0.11)


def test_each_cutoff_costs_more_than_the_one_before():
    found = plan.data("bundled:home-commands", model="bundled:tiny", gpu="24GB")
    costs = [c["memory"] for c in found["cutoffs"]]
    assert all(costs)
    assert costs == sorted(costs)


@pytest.fixture
def studied(tmp_path):
    """A folder with two finished studies of the same model: one on data like these, one on another task."""
    store = Store(tmp_path / "out")
    for name, examples, rate in (("like", PLAIN[1::2], 1e-3), ("unlike", OTHER, 5e-3)):
        store.open_study(TuneAsked(model="m", data=name, fingerprint=f"f-{name}"), f"tune-{name}")
        ended = {
            "standing": "recommended",
            "recipe": {
                "learning_rate": rate,
                "method": "lora",
                "per_device_train_batch_size": 4,
                "gradient_accumulation_steps": 2,
                "num_train_epochs": 2.0,
            },
        }
        store.update_study(f"tune-{name}", facts={"recommendation": ended, "data_profile": profile(examples)})
    return store


def test_earlier_studies_are_weighed_by_how_alike_their_data_are(studied):
    found = earlier.alike(studied, "m", profile(PLAIN[::2]))
    assert [r["study"] for r in found] == ["tune-like", "tune-unlike"]
    assert found[1]["difference"]["level"] == "different task"
    assert "plan anew" in found[1]["sentence"]
    assert "learning_rate 0.001, batch 8" in found[0]["sentence"]
    assert earlier.alike(studied, "another", profile(PLAIN)) == []
    assert earlier.behind(studied, "f-like")["examples"] == 60
    assert earlier.behind(studied, "f-nobody") is None


def test_the_quick_verbs_load_no_heavy_library():
    """`trimtab plan --instant` on a sketch answers in under half a second: nothing numerical may be loaded."""
    code = (
        f"import sys; from trimtab.api import plan as verbs;verbs.plan({SEVEN!r}, 'sketch:5000x2048', gpu='24GB',"
        f" instant=True, studies='nowhere'); verbs.precedents({SEVEN!r});print([m for m in ('torch', 'transformers',"
        " 'numpy', 'sqlalchemy', 'sklearn', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
