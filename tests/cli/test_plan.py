"""plan, precedents and data as typed; what they print, and what they say to odd input."""

import json
import re

import pytest
import yaml

from tests.cli.test_main import trimtab  # noqa: F401 (a fixture)

SEVEN = "Qwen/Qwen2.5-7B-Instruct"


@pytest.fixture
def call(trimtab, monkeypatch):  # noqa: F811
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "160")
    return trimtab


def test_a_plan_shows_values_reasons_memory_precedents_and_what_to_try(call, tmp_path):
    page = tmp_path / "plan.yaml"
    code, text, _ = call(
        "plan", SEVEN, "sketch:5000x2048", "--gpu", "48GB", "--instant", "--out", page, "--studies", tmp_path
    )
    assert code == 0
    for part in (
        "learning_rate",
        "fits",
        "github.com",
        "Next experiments",
        "M tokens",
        "trimtab tune",
        f"trimtab train {page}",
    ):
        assert part in text
    assert yaml.safe_load(page.read_text())["max_length"] == 2048


def test_on_a_narrow_terminal_reasons_stand_below(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, text, _ = call("plan", SEVEN, "sketch:5000x2048", "--gpu", "48GB", "--instant")
    assert re.search(r"num_train_epochs +5 +2\.5–10\.1\n +5,000 examples", text)


def test_one_setting_is_explained(call):
    code, text, _ = call(
        "plan",
        SEVEN,
        "sketch:5000x2048",
        "--gpu",
        "48GB",
        "--instant",
        "--explain",
        "learning_rate",
        "learning_rate=1e-5",
    )
    assert code == 0
    for part in ("learning_rate = 1e-05", "yours; the rule says", "rule:", "published:", "band 50/80/90 %"):
        assert part in text
    code, _, err = call("plan", SEVEN, "sketch:5000x2048", "--gpu", "48GB", "--instant", "--explain", "learning_rat")
    assert code == 2
    assert 'did you mean "learning_rate"' in err


def test_precedents_have_links(call):
    code, text, _ = call("precedents", SEVEN, "--method", "qlora", "--count", 3)
    assert code == 0
    assert text.count("https://") >= 3
    assert "weighted quartiles" in text
    _, text, _ = call("precedents", SEVEN, "--json")
    assert len(json.loads(text)["rows"]) == 10


def test_the_data_report_shows_lengths_copies_and_what_the_model_sees(call):
    code, text, _ = call(
        "data",
        "bundled:home-commands",
        "--model",
        "bundled:tiny",
        "--gpu",
        "8GB",
        "--against",
        "bundled:home-commands-zh",
    )
    assert code == 0
    for part in ("264 train", "near", "leakage", "█", "cutoff", "GiB", "<|im_start|>", "different task"):
        assert part in text


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("plan", SEVEN, "sketch:9", "--gpu", "1GB", "--instant"), "nearest that would work"),
        (("plan", SEVEN, "sketch:3", "--gpu", "24GB", "--instant"), "put them into the prompt"),
        (("plan", SEVEN, "sketch:99", "--gpu", "24Gb0", "--instant"), 'no card "24Gb0"'),
        (("plan", "no/such-model", "sketch:99"), "not in the catalogue"),
        (("plan", SEVEN, "gone.jsonl", "--gpu", "24GB"), "does not exist"),
        (
            ("plan", SEVEN, "sketch:99", "--gpu", "24GB", "--instant", "--out", "/no/such/folder/p.yaml"),
            "cannot be written",
        ),
        (("precedents", "nameless"), "no model"),
        (("precedents", SEVEN, "--method", "auto"), "allowed are full, lora, qlora"),
        (("data", "gone.csv"), "does not exist"),
    ],
)
def test_odd_input_is_one_sentence(call, args, said):
    code, _, err = call(*args)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_copies_alone_and_one_label_are_refused_with_what_would_help(call, tmp_path):
    path = tmp_path / "same.jsonl"
    path.write_text(
        json.dumps({"prompt": "p", "completion": "c"})
        + "\n" * 1
        + (json.dumps({"prompt": "p", "completion": "c"}) + "\n") * 60,
        encoding="utf-8",
    )
    code, _, err = call("plan", "bundled:tiny", path, "--instant")
    assert code == 2
    assert "copies of one another" in err
    path.write_text(
        "".join(
            json.dumps({"text": f"a review number {i} about {i * 37 % 11} things", "label": 1}) + "\n"
            for i in range(80)
        ),
        encoding="utf-8",
    )
    code, _, err = call("plan", "bundled:tiny", path, "--task", "classification", "--instant")
    assert code == 2
    assert "one label only" in err


def test_pairs_are_planned_as_dpo_and_said_so(call, tmp_path):
    data = tmp_path / "pairs.jsonl"
    rows = [
        {"prompt": f"What is {i} and {i * i}?", "chosen": f"They are {i * 3} things.", "rejected": "No idea."}
        for i in range(80)
    ]
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    code, text, _ = call("plan", "Qwen/Qwen2.5-0.5B-Instruct", data, "--gpu", "16GB", "--instant")
    assert code == 0
    assert "the task is taken as dpo" in " ".join(text.split())
    _, text, _ = call("plan", "Qwen/Qwen2.5-0.5B-Instruct", data, "--gpu", "16GB", "--instant", "--task", "sft")
    assert "taken as dpo" not in " ".join(text.split())


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--task", "simple,complex", "one kind of task and one difficulty"),
        ("--studies", "/nowhere/at/all", "there is no folder /nowhere/at/all"),
        ("--explain", "lr", 'did you mean "learning_rate"'),
    ],
)
def test_what_a_plan_cannot_take_is_said(call, small_file, option, value, said):
    code, _, error = call("plan", "Qwen/Qwen2.5-0.5B-Instruct", small_file, "--gpu", "16GB", "--instant", option, value)
    assert code == 2
    assert said in error
