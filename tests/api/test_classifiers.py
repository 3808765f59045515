"""A whole study of a classifier, and every verb that people use on its runs."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import trimtab
from trimtab.cli.main import app
from trimtab.errors import DataError, ModelError, SpecError, StoreError
from trimtab.store import Store


@pytest.fixture(scope="module")
def study(tmp_path_factory, tiny_encoder, labelled_file):
    """(folder, recommendation): three seeds of one recipe, a card; the task told by the model."""
    out = tmp_path_factory.mktemp("study")
    own = ["learning_rate=1e-2", "num_train_epochs=3", "per_device_train_batch_size=8", "r=4", "bf16=false"]
    return out, trimtab.tune(tiny_encoder, str(labelled_file), own=own, out=out)


def shown(*args):
    result = CliRunner().invoke(app, [str(a) for a in args])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def test_what_is_recommended_is_held_against_the_frozen_probe(study):
    out, result = study
    assert result["recipe"]["task"] == "text-classification"
    assert (result["metric"], result["baseline"], len(result["runs"])) == ("accuracy", "frozen probe", 3)
    assert result["gain"]["value"] == pytest.approx(result["tuned"] - result["base"])
    page = Path(result["report"]).read_text(encoding="utf-8")
    assert "frozen probe" in page
    assert "Recall of the label that lost most" in page
    assert (out / result["study"] / "adapter" / "labels.json").exists()


def test_a_card_judges_labels_and_asks_nothing_in_words(study):
    out, result = study
    judged = trimtab.card(result["runs"][0], out=out)
    numbers = {r["number"] for r in judged["rows"]}
    assert {"label_accuracy", "label_f1", "label_brier", "label_worst_class", "representation_drift"} <= numbers
    assert not numbers & {"kl_generic", "refusal", "facts_lost"}
    by_number = {r["number"]: r for r in judged["rows"]}
    row = Store(out).run(result["runs"][0])
    assert by_number["label_accuracy"]["tuned"] == pytest.approx(
        sum(row.result["task"]["accuracy"]) / len(row.result["task"]["accuracy"])
    )


def test_accuracy_and_f1_are_scikit_learns(study):
    from sklearn.metrics import accuracy_score, f1_score

    out, result = study
    stored = Store(out).card(result["run"])["measured"]["raw"]
    truth, picks = stored["label_truth"], stored["label_pick_tuned"]
    by_number = {r["number"]: r for r in trimtab.card(result["run"], out=out)["rows"]}
    assert by_number["label_accuracy"]["tuned"] == pytest.approx(accuracy_score(truth, picks))
    assert by_number["label_f1"]["tuned"] == pytest.approx(f1_score(truth, picks, average="macro"))


def test_an_adapters_shares_lead_from_the_probe_to_the_run(study):
    out, result = study
    rows = {r["scale"]: r for r in trimtab.adapter_scale(result["run"], out=out)["rows"]}
    assert rows[0.0]["numbers"]["representation_drift"]["value"] == pytest.approx(0, abs=1e-6)
    assert rows[1.0]["loss"] != rows[0.5]["loss"] != rows[0.0]["loss"]


def test_a_share_that_is_handed_over_is_that_share(study):
    """The head goes its part of the way too, so that PEFT loads what was measured."""
    out, result = study
    recipe = trimtab.Recipe.model_validate(result["recipe"])
    half = trimtab.train(recipe.but(adapter_scale=0.5), out=out)
    scales = {r["scale"]: r["loss"] for r in trimtab.adapter_scale(result["run"], out=out)["rows"]}
    whole = {r["scale"]: r["loss"] for r in trimtab.adapter_scale(half.id, out=out)["rows"]}
    assert whole[1.0] == pytest.approx(scales[0.5], rel=1e-4)


def test_inside_needs_a_limit_that_its_card_judges(study, tmp_path):
    out, result = study
    budget = tmp_path / "soft.yaml"
    budget.write_text("limits: {label_brier: {max: 0.02, hard: false}}\n")
    with pytest.raises(SpecError, match="no hard limit on what a card of text-classification judges"):
        trimtab.inside(result["run"], budget=budget, out=out)


def test_a_run_that_is_inside_the_preset_needs_no_remedy(study):
    out, result = study
    rows = {r["number"]: r for r in trimtab.card(result["run"], out=out)["rows"]}
    assert rows["label_brier"]["hard"]
    assert rows["label_brier"]["verdict"] == "PASS"
    before = len(Store(out).runs())
    shown("inside", result["run"], "--out", out)
    assert len(Store(out).runs()) == before


def test_other_verbs(study):
    out, result = study
    first, second = result["runs"][:2]
    assert "paired items" in shown("compare", first, second, "--out", out)
    assert "example" in shown("gradient-shares", first, "--out", out)
    model, data = result["recipe"]["model"], result["recipe"]["data"]
    assert "Accuracy" in shown("tune", model, data, "--explain", "--out", out)


def test_a_files_own_columns_are_named_behind_it(study, tmp_path):
    out, result = study
    file = tmp_path / "mine.jsonl"
    rows = [
        {"frage": "i saw gold", "text": "i saw owl", "klasse": "x"},
        {"frage": "i saw tin", "text": "no", "klasse": "y"},
    ]
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    made = trimtab.predict(result["run"], [f"{file}#frage,klasse"], out=out)
    assert [r["text"] for r in made["rows"]] == ["i saw gold", "i saw tin"]
    assert [r["text"] for r in trimtab.predict(result["run"], [str(file)], out=out)["rows"]] == ["i saw owl", "no"]


def test_an_encoder_is_trained_to_classify_and_never_to_write(study, tmp_path, tiny_encoder, labelled_file, small_file):
    out, result = study
    recipe = tmp_path / "r.yaml"
    how = f"model: {tiny_encoder}\ndata: {labelled_file}\nmax_steps: 2\nr: 4\nbf16: false\n"
    recipe.write_text(how)
    run = trimtab.train(recipe, out=out)
    assert run.recipe.task == "text-classification"
    recipe.write_text(how + "task: sft\n")
    with pytest.raises(ModelError, match=r"is an encoder \(bert\), which does not write"):
        trimtab.train(recipe, out=out)
    recipe.write_text(how + "task: text-classification\nkl_weight: 0.5\n")
    with pytest.raises(SpecError, match="they need a model that answers in words"):
        trimtab.train(recipe, out=out)
    recipe.write_text(f"model: bundled:tiny\ndata: {small_file}\nmax_steps: 2\nmax_length: 64\n")
    chat = trimtab.train(recipe, out=out)
    with pytest.raises(StoreError, match="compare runs of one task"):
        trimtab.compare(chat.id, result["run"], out=out)


def test_texts_get_labels(study, tmp_path):
    out, result = study
    made = trimtab.predict(result["run"], ["i saw gold in place 3", "i saw owl in place 8"], out=out)
    assert made["labels"] == ["animal", "colour", "metal"]
    for row in made["rows"]:
        assert sum(row["probabilities"]) == pytest.approx(1)
        assert row["probability"] == max(row["probabilities"])
        assert row["label"] == made["labels"][row["probabilities"].index(row["probability"])]
    file = tmp_path / "mine.csv"
    file.write_text("id,text\n1,i saw tin in place 3\n2,i saw dog\n", encoding="utf-8")
    text = shown("predict", result["run"], file, "--out", out, "--right", "0.5")
    written = next((out / "predictions").glob("mine-*.csv"))
    assert str(written) in text
    rows = list(csv.DictReader(written.open(encoding="utf-8")))
    assert [r["text"] for r in rows] == ["i saw tin in place 3", "i saw dog"]


@pytest.mark.parametrize(
    ("given", "how", "error", "said"),
    [
        (["x"], {"right": 1.0}, SpecError, "a share between 0 and 1"),
        ([], {}, SpecError, "give a text"),
        (["two.jsonl"], {}, DataError, "has the columns a, b; name the one to be read"),
        (["hole.jsonl"], {}, DataError, "row 2 has no text"),
        (["", "x"], {}, SpecError, "got an empty text"),
        (["two.jsonl", "x"], {}, SpecError, "is a file; give texts, or one file alone"),
        (["two.jsonl#c,b"], {}, DataError, "has the columns a, b; name the one to be read"),
    ],
)
def test_bad_input_is_one_sentence(study, tmp_path, monkeypatch, given, how, error, said):
    out, result = study
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.jsonl").write_text(json.dumps({"a": "x", "b": "y"}) + "\n")
    (tmp_path / "hole.jsonl").write_text('{"text": "x"}\n{"text": null}\n')
    with pytest.raises(error, match=said):
        trimtab.predict(result["run"], given, out=out, **how)


@pytest.fixture(scope="module")
def sight(tmp_path_factory, tiny_resnet, pictures_folder):
    """The same of a network that sees; the task told by the model."""
    out = tmp_path_factory.mktemp("sight")
    own = ["learning_rate=1e-3", "num_train_epochs=4", "per_device_train_batch_size=8", "max_length=16", "bf16=false"]
    return out, trimtab.tune(tiny_resnet, str(pictures_folder), own=[*own, "random_crop=0.1"], out=out)


def test_a_study_of_pictures_ends_in_a_recommendation(sight):
    out, result = sight
    assert (result["recipe"]["task"], result["recipe"]["method"]) == ("image-classification", "full")
    assert result["recipe"]["random_crop"] == 0.1
    assert (result["metric"], result["baseline"], len(result["runs"])) == ("accuracy", "frozen probe", 3)
    page = Path(result["report"]).read_text(encoding="utf-8")
    assert "given to the network as 16 × 16" in page
    measured = Store(out).card(result["run"])["measured"]
    assert len(measured["raw"]["label_fragile_tuned"]) > 0  # shifted, brighter, darker, blurred, compressed
    assert {"label_accuracy", "label_brier", "representation_drift"} <= {
        r["number"] for r in trimtab.card(result["run"], out=out)["rows"]
    }


def test_pictures_are_labelled(sight, pictures_folder):
    out, result = sight
    made = trimtab.predict(result["run"], [str(pictures_folder / "above")], out=out)
    assert len(made["rows"]) == 24
    assert Path(made["file"]).exists()
    one = trimtab.predict(result["run"], [made["rows"][0]["text"]], out=out)
    assert one["rows"][0]["probabilities"] == pytest.approx(made["rows"][0]["probabilities"], abs=1e-4)
    assert "sureness" in shown("predict", result["run"], pictures_folder / "below", "--out", out)


def test_a_plan_and_a_report_on_pictures(sight, tiny_resnet, pictures_folder, labelled_file, tiny_encoder):
    out, _ = sight
    plan = trimtab.plan(tiny_resnet, str(pictures_folder), studies=out)
    assert plan["recipe"]["task"] == "image-classification"
    assert plan["forecast"]["how"] == "traced"
    text = shown("data", pictures_folder)
    assert "20 × 16 pixels" in text
    assert "above" in text
    for model, data, said in (
        (tiny_resnet, labelled_file, "has the columns text, label; say which holds pictures"),
        (tiny_encoder, pictures_folder, "reads texts, and .* holds pictures"),
    ):
        with pytest.raises((DataError, ModelError), match=said):
            trimtab.plan(model, str(data))
