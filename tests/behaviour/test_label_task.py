"""Tasks whose answers are labels, read from a language model and from a model with a head. Real tiny models."""

import json

import pytest
import torch

from trimtab.analysis.card import judge
from trimtab.behaviour import label_task, sequence_classifier
from trimtab.behaviour.answering import EvaluatedModel
from trimtab.behaviour.floor import noise
from trimtab.behaviour.label_task import LabelTask, Predictions, compare, label_task_of, predict
from trimtab.datasets.formats import to_examples
from trimtab.errors import DataError
from trimtab.spec.budget import preset

ROWS = [
    {"text": f"{what} number {i}", "label": label}
    for i in range(20)
    for what, label in (("a warm day", "good"), ("the rain", "bad"))
]
EXAMPLES = to_examples(ROWS, "rows")[1]


@pytest.fixture(scope="module")
def task():
    return label_task_of(EXAMPLES, EXAMPLES[:12], "en")


def test_labels_are_told_from_answers(task):
    assert task.labels == ("bad", "good")
    assert task.truth == (1, 0) * 6
    words = to_examples([{"prompt": f"say {i}", "completion": f"it is {i}"} for i in range(40)], "x")[1]
    assert label_task_of(words, words, "en") is None
    one = to_examples([{"text": f"t {i}", "label": "only"} for i in range(40)], "x")[1]
    assert label_task_of(one, one, "en") is None
    assert label_task_of(EXAMPLES, words, "en") is None  # nothing held out to ask


def test_a_language_model_is_read_as_a_classifier_and_a_base_is_asked_once(tiny_base, task, tmp_path):
    evaluated = EvaluatedModel(tiny_base)
    first = predict(evaluated, task, tmp_path)
    assert all(sum(p) == pytest.approx(1) for p in first.probabilities)
    assert [len(v) for v in first.rephrased] == [len(v) for v in task.rephrased]
    said = []
    tiny_base.say = said.append
    assert predict(evaluated, task, tmp_path) == first
    assert not said
    other = predict(EvaluatedModel(tiny_base, noise(evaluated, 0.2)), task, tmp_path)
    raw = compare(first, other, task)
    assert min(raw["representation_drift"]) > 0
    assert compare(first, first, task)["representation_drift"] == pytest.approx([0.0] * 12)


def sure(truth, right, p=0.95):
    """Probabilities of two labels; item i is labelled right where right[i]."""
    return [[p, 1 - p] if (t == 0) == r else [1 - p, p] for t, r in zip(truth, right, strict=True)]


def test_one_lost_label_fails_though_the_others_gained():
    truth = tuple(i % 2 for i in range(120))
    task = LabelTask(("bad", "good"), ((),) * 120, truth)
    base = Predictions(sure(truth, [i % 2 == 0 or i % 4 == 1 for i in range(120)], 0.8), [], [])
    tuned = Predictions(sure(truth, [i % 2 == 1 for i in range(120)]), [], [])
    judged = judge({"raw": compare(base, tuned, task), "classifier": True, "level": "card"}, preset("standard"))
    rows = {r["number"]: r for r in judged["rows"]}
    assert (rows["class-bad"]["value"], rows["class-good"]["value"]) == (-1.0, 0.5)
    assert (rows["label_worst_class"]["verdict"], judged["verdict"]) == ("FAIL", "FAIL")
    assert rows["label_brier"]["verdict"] == "FAIL"  # the hard one
    assert rows["label_confident_wrong"]["verdict"] == "FAIL"  # 95 % sure of half of them
    assert rows["label_f1"]["tuned"] == pytest.approx(1 / 3)
    assert rows["label_ece"]["tuned"] == pytest.approx(0.45)
    assert "kl_generic" not in rows
    assert "refusal" not in rows
    places = [r["number"] for r in judged["rows"]]
    assert places.index("class-bad") == places.index("label_worst_class") + 1


def test_no_label_missed_is_no_proof_that_none_will_be():
    truth = (0, 1) * 20
    all_right = Predictions(sure(truth, [True] * 40), [], [])
    judged = judge(
        {"raw": compare(all_right, all_right, LabelTask(("bad", "good"), ((),) * 40, truth)), "classifier": True},
        preset(),
    )
    f1 = next(r for r in judged["rows"] if r["number"] == "label_f1")
    assert f1["value"] == 0
    assert f1["low"] < 0 < f1["high"]


def test_limits_on_labels_mean_nothing_where_there_are_none():
    judged = judge({"raw": {"kl_generic": [0.01] * 20}, "level": "card"}, preset("standard"))
    assert not [r for r in judged["rows"] if r["group"] == "labels"]


@pytest.fixture(scope="module")
def heads(tmp_path_factory, tiny_tokenizer):
    """A tiny encoder, two classifiers on it that differ a little, and one with other labels."""
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    folder = tmp_path_factory.mktemp("heads")
    torch.manual_seed(0)
    sizes = {
        "vocab_size": len(tiny_tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
    }
    for name, labels in (("one", ("good", "bad")), ("strange", ("spam", "ham"))):
        config = BertConfig(**sizes, id2label=dict(enumerate(labels)), label2id={x: i for i, x in enumerate(labels)})
        model = BertForSequenceClassification(config)
        model.save_pretrained(folder / name)
        if name == "one":
            model.base_model.save_pretrained(folder / "body")
            torch.nn.init.normal_(model.classifier.weight, std=0.5)
            model.base_model.encoder.layer[0].output.dense.weight.data += 0.05
            model.save_pretrained(folder / "two")
    assert BertModel.from_pretrained(folder / "body")
    for name in ("one", "two", "strange", "body"):
        tiny_tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "rows.jsonl"
    words = ["apple", "river", "cloud", "stone", "bread", "lamp", "horse", "paper", "glass", "tower"]
    rows = [{"text": f"{a} {b} {c}", "label": "good" if i % 2 else "bad"} for i, (a, b, c) in enumerate(
        (a, b, c) for a in words for b in words for c in words[:3] if a != b)]  # fmt: skip
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_heads_are_read_by_name_whatever_their_order_and_the_batch_changes_nothing(heads, task):
    read = sequence_classifier.load(str(heads / "one"), "cpu", lambda _: None)
    found = sequence_classifier.predict(read, task)
    both, _ = sequence_classifier._read(
        read, [task.prompts[0][-1]["content"], "a much longer text than the other one, and then some"]
    )
    alone, _ = sequence_classifier._read(read, [task.prompts[0][-1]["content"]])
    assert alone[0] == pytest.approx(both[0], abs=1e-6)
    assert alone[0] == pytest.approx(found.probabilities[0][::-1], abs=1e-6)
    with pytest.raises(DataError, match="spam, ham; the data have bad, good"):
        sequence_classifier.predict(sequence_classifier.load(str(heads / "strange"), "cpu", lambda _: None), task)


@pytest.mark.parametrize("base", ["one", "body"])
def test_the_card_of_a_classifier(heads, labelled, base):
    from trimtab.api.card import card

    found = card(str(heads / "two"), base=str(heads / base), data=str(labelled))
    rows = {r["number"]: r for r in found["rows"]}
    assert rows["representation_drift"]["value"] > 0
    assert rows["weight_change"]["value"] > 0
    assert rows["label_accuracy"]["tuned"] is not None
    assert 0 < rows["label_brier"]["tuned"] <= 2
    if base == "body":
        assert rows["label_worst_class"]["verdict"] == "NOT MEASURED"
        assert "no classification head" in rows["label_worst_class"]["missing"]
    else:
        assert rows["label_worst_class"]["value"] is not None
        assert rows["class-good"]["n"] > 5
    assert {s["reference"] for s in found["samples"]} == {"good", "bad"}


def test_a_classifier_without_labelled_data_is_refused_in_a_sentence(heads, small_file):
    from trimtab.api.card import card
    from trimtab.errors import SpecError

    with pytest.raises(SpecError, match="--data"):
        card(str(heads / "two"), base=str(heads / "one"))
    with pytest.raises(DataError, match="no labels"):
        card(str(heads / "two"), base=str(heads / "one"), data=str(small_file))


def test_every_label_number_is_a_row_of_the_card():
    from trimtab.spec.numbers import NUMBERS

    assert set(label_task.LABEL_CHANGES) < set(NUMBERS)
