"""Models that trimtab did not train: what a folder holds, whose adapter it is, and what cannot be measured."""

import json
from types import SimpleNamespace

import pytest

from trimtab.errors import DataError, ModelError, SpecError
from trimtab.run.machine import Machine
from trimtab.spec.budget import Budget
from trimtab.tasks import external_models as external

HERE = Machine("cpu", "test", 1, 1, 2**30, False)


@pytest.fixture
def adapter(tmp_path, monkeypatch):
    """A folder with an adapter made for a base; its weights are not read."""
    monkeypatch.setattr(external, "load_adapter", lambda folder, _base: folder)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "somebody/base-1b"}))
    return tmp_path


@pytest.fixture
def cache():
    return SimpleNamespace(base=lambda: "base", key=lambda: (False, True), fresh=lambda *how: how)


@pytest.mark.parametrize(("base", "notes"), [("/models/base-1b", 0), ("mirror/base-1b", 0), ("somebody/base-3b", 1)])
def test_an_adapter_of_another_base_is_measured_and_said(adapter, cache, base, notes):
    said = []
    one, other = external.pair(str(adapter), base, cache, said.append)
    assert (one.base, one.adapter, other.base, other.adapter) == ("base", None, "base", adapter)
    assert len(said) == notes
    assert all("somebody/base-1b" in text and base in text for text in said)


def test_a_whole_model_is_loaded_as_its_base_is_with_its_own_tokenizer(tmp_path, cache, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(external.models, "load_tokenizer", lambda name, _say: f"tokenizer of {name}")
    _, other = external.pair(str(tmp_path), "b", cache, print)
    assert other.base == (str(tmp_path), (False, True), f"tokenizer of {tmp_path}")
    assert other.adapter is None


def test_a_folder_that_holds_neither_is_said(tmp_path, cache):
    assert not external.is_adapter(str(tmp_path))
    with pytest.raises(ModelError, match=r"holds neither an adapter .* nor a model"):
        external.pair(str(tmp_path), "b", cache, print)


def classifier(monkeypatch, data):
    monkeypatch.setattr(external.models, "is_classifier", lambda *_: True)
    return external.card("t", "b", data, Budget(), "card", None, (), HERE, None, lambda _text: None)


def test_a_classifier_needs_labelled_examples(monkeypatch, small_file):
    with pytest.raises(SpecError, match="name them with --data FILE"):
        classifier(monkeypatch, None)
    with pytest.raises(DataError, match=r"has no labels that a classifier could be asked for"):
        classifier(monkeypatch, str(small_file))


def test_a_classifier_without_a_base_that_classifies_says_why_its_change_is_missing(monkeypatch, tmp_path):
    """The base has no head: its picks are empty, those of the tuned one are labels."""
    data = tmp_path / "d.jsonl"
    rows = [{"prompt": f"is {i} * 7 an even number or not?", "completion": ("yes", "no")[i % 2]} for i in range(80)]
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    monkeypatch.setattr(
        external.sequence_classifier,
        "load",
        lambda name, *_: SimpleNamespace(labels=("yes", "no") if name == "t" else ()),
    )
    monkeypatch.setattr(external.sequence_classifier, "predict", lambda one, task: (one, task))
    monkeypatch.setattr(external.sequence_classifier, "weight_change", lambda *_: {"weight_change": [0.1]})
    monkeypatch.setattr(
        external, "compare", lambda _before, after, _task: {"label_pick_tuned": [0] * len(after[1].truth)}
    )
    measured, samples = classifier(monkeypatch, str(data))
    assert measured["missing"].keys() == set(external.LABEL_CHANGES)
    assert all("b has no classification head" in why for why in measured["missing"].values())
    assert {s["base"] for s in samples} == {""}
    assert len({s["tuned"] for s in samples}) == 1
    assert {s["reference"] for s in samples} == {"yes", "no"}
    assert measured["raw"]["weight_change"] == [0.1]
