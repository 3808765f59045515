import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trimtab.errors import SpecError
from trimtab.spec.recipe import Recipe
from trimtab.spec.yaml_file import dump, load_budget, load_recipe, read_mapping, split_overrides


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_all_problems_at_once_with_the_nearest_key(tmp_path):
    path = write(
        tmp_path / "r.yaml", "model: m\ndata: d\nlearning_rat: 1e-4\nlearning_rate: -1\nmethod: qlora2\nr: 0\n"
    )
    with pytest.raises(SpecError) as error:
        load_recipe(path)
    text = str(error.value)
    assert len(error.value.problems) == 4
    assert 'did you mean "learning_rate"?' in text
    assert "got -1.0" in text or "got -1" in text
    assert "'lora' or 'full'" in text


def test_scientific_notation_without_a_dot_is_a_number(tmp_path):
    assert load_recipe(write(tmp_path / "r.yaml", "model: m\ndata: d\nlearning_rate: 1e-4\n")).learning_rate == 1e-4


def test_overrides_win(tmp_path):
    path = write(tmp_path / "r.yaml", "model: m\ndata: d\nr: 4\n")
    assert load_recipe(path, ["r=8", "learning_rate=3e-4"]).model_dump(include={"r", "learning_rate"}) == {
        "r": 8,
        "learning_rate": 3e-4,
    }
    with pytest.raises(SpecError, match="not of the form"):
        load_recipe(path, ["r"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"model: [", "not valid YAML"),
        (b"- a\n- b", "must be a mapping"),
        (b"model: \xff\xfe", "not UTF-8"),
        (b"data: d", '"model" is missing'),
    ],
)
def test_files_that_are_no_recipe(tmp_path, content, said):
    (tmp_path / "r.yaml").write_bytes(content)
    with pytest.raises(SpecError, match=said):
        load_recipe(tmp_path / "r.yaml")
    with pytest.raises(SpecError, match="does not exist"):
        load_recipe(tmp_path / "none.yaml")


@given(
    st.builds(
        Recipe,
        model=st.just("m"),
        data=st.text("abcé中/.: #'", min_size=1),
        learning_rate=st.floats(1e-8, 1),
        r=st.integers(1, 512),
        target_modules=st.one_of(st.just("all-linear"), st.lists(st.sampled_from(["q_proj", "v_proj"]), min_size=1)),
        bf16=st.sampled_from([None, True, False]),
    )
)
def test_a_written_recipe_reads_back_the_same(recipe):
    assert Recipe.model_validate(yaml.safe_load(dump(recipe))) == recipe


def test_budget_presets_and_files(tmp_path):
    assert load_budget(None).limits["kl_generic"].max == 0.10
    assert load_budget("tight").limits["kl_generic"].max == 0.03
    path = write(tmp_path / "b.yaml", "preset: loose\nlimits:\n  kl_generic: {max: 0.2}\n")
    budget = load_budget(path)
    assert budget.limits["kl_generic"].max == 0.2
    assert budget.limits["length_ratio"].max == 2.5


def test_budget_errors_all_at_once(tmp_path):
    path = write(
        tmp_path / "b.yaml",
        "limits:\n  kl_generi: {max: 0.2}\n  nll_change: {max: x}\n  length_ratio: {min: 2, max: 1}\n",
    )
    with pytest.raises(SpecError) as error:
        load_budget(path)
    assert len(error.value.problems) == 3
    assert 'did you mean "kl_generic"?' in str(error.value)
    assert "nothing can meet it" in str(error.value)


def test_a_budget_that_nothing_can_meet(tmp_path):
    with pytest.raises(SpecError, match="nothing can meet"):
        load_budget(write(tmp_path / "b.yaml", "limits:\n  kl_generic: {max: -0.1}\n"))
    with pytest.raises(SpecError, match="nothing can meet"):
        load_budget(write(tmp_path / "c.yaml", "limits:\n  format_validity: {min: 1.2}\n"))


def test_typed_values_keep_their_kind(tmp_path):
    typed, _ = split_overrides(["bf16=false", "learning_rate=1e-4", "target_modules=[q_proj,gate_proj]"])
    assert typed == {"bf16": False, "learning_rate": 1e-4, "target_modules": ["q_proj", "gate_proj"]}
    assert load_recipe(write(tmp_path / "r.yaml", 'model: m\ndata: "my #1.jsonl"\n')).data == "my #1.jsonl"


def test_what_a_budget_file_leaves_out_stays_as_the_preset_has_it(tmp_path):
    budget = load_budget(write(tmp_path / "b.yaml", "limits:\n  length_ratio: {max: 1.3}\n"))
    limit = budget.limits["length_ratio"]
    assert (limit.min, limit.max, limit.hard) == (0.55, 1.3, False)
    alone = load_budget(write(tmp_path / "c.yaml", "name: ours\nlength_ratio: {min: null, max: 1.3}\n"))
    assert alone.name == "ours"
    assert alone.limits["length_ratio"].min is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limits: {}\nlimts: {}\n", 'unknown key "limts"; did you mean "limits"?'),
        ("limits: {7: {max: 1}}\n", 'unknown number "7"'),
        ("limits: {kl_generic: 3}\n", "limits.kl_generic: must be a mapping"),
        ("limits: 3\n", "limits must be a mapping"),
        ("limits: {degeneration: {max: 0}}\n", "the lowest that 300 answers can show is 0.01"),
        ("limits: {degeneration: {max: 0.001}}\n", "the lowest that 300 answers can show is 0.01"),
        ("limits: {format_validity: {min: 1}}\n", "the highest that 60 answers can show is 0.95"),
        ("limits: {kl_generic: {max: 0}}\n", "the lowest of use, as a tuned model always moves a little"),
        ("limits: {length_ratio: {min: 2, max: 1}}\n", "limits.length_ratio: nothing can meet it"),
    ],
)
def test_wrong_budget_files_say_what_is_wrong(tmp_path, text, said):
    with pytest.raises(SpecError) as error:
        load_budget(write(tmp_path / "b.yaml", text))
    assert said in str(error.value)


def test_wrong_forms_and_wrong_values_are_said_together(tmp_path):
    path = write(tmp_path / "r.yaml", "model: m\ndata: d\n")
    with pytest.raises(SpecError) as error:
        load_recipe(path, ["nonsense", "learning_rate=-1", "r=0"])
    assert len(error.value.problems) == 3


def test_all_impossible_limits_are_said_at_once(tmp_path):
    path = write(
        tmp_path / "b.yaml", "limits: {kl_generic: {max: -1}, facts_lost: {max: 7}, length_ratio: {min: 2, max: 1}}"
    )
    with pytest.raises(SpecError) as error:
        load_budget(path)
    said = "\n".join(error.value.problems)
    for part in (
        "kl_generic: nothing can meet max -1",
        "facts_lost: max 7 can never be overstepped",
        "min 2 is above max 1",
    ):
        assert part in said


def test_a_setting_given_twice_is_said(tmp_path):
    with pytest.raises(SpecError, match=r"line 2\): r is given twice"):
        read_mapping(write(tmp_path / "twice.yaml", "r: 8\nr: 16\n"))
    assert split_overrides(["r=8", "r=16"])[1] == ["r is given twice, 8 and 16; give it once"]
