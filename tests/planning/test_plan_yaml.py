import pytest
import yaml

from tests.planning.test_fitting import situation
from tests.planning.test_plan import FACTS
from trimtab.errors import SpecError
from trimtab.planning import plan_yaml
from trimtab.planning.plan import make_plan
from trimtab.spec.yaml_file import load_recipe


def test_the_page_is_the_recipe(tmp_path):
    plan = make_plan(FACTS, {"target_modules": ["q_proj", "v_proj"]})
    path = tmp_path / "plan.yaml"
    path.write_text(plan_yaml.text(plan), encoding="utf-8")
    assert load_recipe(path) == plan.recipe
    lines = [line for line in plan_yaml.text(plan).splitlines() if line and not line.startswith("#")]
    assert all("#" in line for line in lines if not line.startswith(("model:", "data:")))


def test_a_plan_for_other_trainers_says_so_when_it_is_run(tmp_path):
    facts, ask = situation("Qwen/Qwen2.5-7B-Instruct", 5000, 2048, 12)
    plan = make_plan(facts, {}, ask)
    path = tmp_path / "plan.yaml"
    path.write_text(plan_yaml.text(plan), encoding="utf-8")
    assert yaml.safe_load(path.read_text())["method"] == "qlora"
    with pytest.raises(SpecError, match="trimtab's own loop does not train it") as caught:
        load_recipe(path)
    assert len(caught.value.problems) == 1
