import json

import pytest

from tests.datasets.test_survey import PLAIN
from trimtab.errors import SpecError
from trimtab.facts.build import build_facts, report, task_of
from trimtab.forecasting.lengths import lengths
from trimtab.planning.fitting import Way, workload
from trimtab.planning.plan import make_plan


@pytest.fixture
def plain_file(tmp_path):
    path = tmp_path / "plain.jsonl"
    path.write_text("".join(json.dumps({"messages": e.messages}) + "\n" for e in PLAIN), encoding="utf-8")
    return str(path)


def test_facts_of_a_model_whose_tokenizer_is_out_of_reach(plain_file, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = build_facts("Qwen/Qwen2.5-7B-Instruct", plain_file, "24GB", say=lambda _: None)
    f = found.facts
    assert (f.parameters, f.hidden_size, f.family, f.instruct) == (7_615_616_512, 3584, "qwen2", True)
    assert f.examples == 120 - 2 * 12
    assert any("estimated" in a for a in f.assumed)
    assert f.device_name == "24 GB card"
    assert found.survey["examples"] == {"train": 120}


def test_plan_and_forecast_judge_the_same_lengths_without_a_tokenizer(plain_file):
    found = build_facts("Qwen/Qwen2.5-7B-Instruct", plain_file, "24GB", say=lambda _: None)
    plan = make_plan(found.facts, {"trainer": "trimtab"})
    recipe = plan.recipe.but(max_length=plan.settings["max_length"].value)
    micro, cutoff = recipe.per_device_train_batch_size, recipe.max_length
    planned = workload(
        found.facts, {"effective_batch": micro, "num_train_epochs": 1.0}, Way("lora", "trimtab", cutoff), micro, True
    )
    measured = lengths(recipe)
    assert measured.longest == planned.max_length
    assert measured.labels == pytest.approx(planned.labels, rel=0.1)  # of what is left when some are set aside
    assert measured.mean == pytest.approx(planned.mean_length, rel=0.1)
    assert cutoff >= 1.25 * found.survey["quantiles"]["all"]["99"]


def test_no_card_and_none_named_is_said(plain_file):
    f = build_facts("bundled:tiny", plain_file, say=lambda _: None).facts
    assert f.device == "cpu" or f.device_name
    assert any("planned for" in a for a in f.assumed)
    assert not any("estimated" in a for a in f.assumed)


def test_the_survey_is_kept_until_the_file_changes(plain_file):
    first = report(plain_file, "bundled:tiny", lambda _: None)
    assert report(plain_file, "bundled:tiny", lambda _: None) == json.loads(json.dumps(first))
    with open(plain_file, "a", encoding="utf-8") as handle:
        handle.write(json.dumps({"messages": PLAIN[0].messages}) + "\n")
    assert report(plain_file, "bundled:tiny", lambda _: None)["exact_copies"] == 1


def test_a_sketch_stands_for_data_that_are_not_there_yet():
    f = build_facts("Qwen/Qwen2.5-7B", "sketch:5000x2048", "2x80GB").facts
    assert (f.examples, f.length_max, f.mean_length, f.devices) == (5000, 2048, 512, 2)
    assert "no data were read" in f.assumed[0]
    assert f.instruct is False


@pytest.mark.parametrize("odd", ["sketch:", "sketch:0", "sketch:5x0", "sketch:many"])
def test_an_odd_sketch_is_explained(odd):
    with pytest.raises(SpecError, match="as in sketch:5000x2048"):
        build_facts("Qwen/Qwen2.5-7B", odd, "24GB")


def test_tasks_and_difficulties_are_read_together():
    assert (
        task_of("classification,simple") == task_of("text-classification,simple") == ("text-classification", "simple")
    )
    assert task_of("complex") == (None, "complex")
    assert task_of(None) == task_of("auto") == (None, "ordinary")
    with pytest.raises(SpecError, match='did you mean "complex"'):
        task_of("komplex")


def test_an_encoder_is_planned_as_a_classifier_and_a_network_that_sees_too(tmp_path):
    from transformers import BertConfig, ResNetConfig

    BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=100
    ).save_pretrained(tmp_path / "bert")
    ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic").save_pretrained(
        tmp_path / "resnet"
    )
    f = build_facts(str(tmp_path / "bert"), "sketch:1000x128", "8GB", say=lambda _: None).facts
    assert f.task == "text-classification"
    assert 5_000 < f.parameters < 100_000
    f = build_facts(str(tmp_path / "resnet"), "sketch:1000", "8GB", say=lambda _: None).facts
    assert (f.task, f.length_max) == ("image-classification", 224)
    seen = build_facts(str(tmp_path / "resnet"), "bundled:digits", "8GB", say=lambda _: None)
    assert (seen.facts.examples, seen.facts.distinct_answers, seen.survey["pictures"]) == (1000, 10, True)
