"""What a base said is asked once, by whomever; and what comes with the package is what the bundled model says."""

import json
import zipfile

import pytest
import torch

from trimtab.analysis.looks import blocks
from trimtab.behaviour import kept
from trimtab.behaviour.answering import EvaluatedModel
from trimtab.behaviour.kept import identity, is_known, remembered
from trimtab.behaviour.refusal_margin import refusal_margin
from trimtab.behaviour.responses import Battery, known_share, questions


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with one answer of one model."""
    monkeypatch.setattr(kept, "SHIPPED", tmp_path / "says.zip")
    kept.shipped.cache_clear()
    name = f"facts-{kept._hash('who', ('a', 1))}.json"
    with zipfile.ZipFile(kept.SHIPPED, "w") as file:
        file.writestr(name, json.dumps([0.5]))
    yield tmp_path
    kept.shipped.cache_clear()


def never():
    raise AssertionError("asked again")


def test_it_is_asked_once(tmp_path):
    assert remembered(tmp_path, "facts", "me", ("b",), lambda: [1]) == [1]
    assert remembered(tmp_path, "facts", "me", ("b",), never) == [1]
    assert remembered(tmp_path, "facts", "you", ("b",), lambda: [2]) == [2]
    assert remembered(None, "facts", "me", ("b",), lambda: [3]) == [3]  # nothing is kept


def test_the_package_s_answers_are_met_by_the_same_model_and_question_alone(package):
    assert remembered(package / "mine", "facts", "who", ("a", 1), never) == [0.5]
    assert is_known(package / "mine", "facts", "who", ("a", 1))
    assert not is_known(package / "mine", "facts", "who else", ("a", 1))
    assert remembered(package, "facts", "who", ("a", 2), lambda: [7]) == [7]


def test_a_package_without_answers_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "SHIPPED", tmp_path / "none.zip")
    kept.shipped.cache_clear()
    assert kept.shipped() == {}
    kept.shipped.cache_clear()


def test_the_bundled_model_is_known_before_the_first_run(tmp_path):
    """Every question of the English card; if this fails, a question or the way it is asked has changed: run
    bench/base_says.py. A sample is asked again."""
    from accelerate import Accelerator

    from trimtab.tasks.language import LanguageBase
    from trimtab.tasks.pretrained import load_model, load_tokenizer

    name = "bundled:smollm2"
    base = EvaluatedModel(
        LanguageBase(load_model(name, torch.float32, "cpu"), load_tokenizer(name), Accelerator(cpu=True))
    )
    assert known_share(base, Battery("card", "en"), tmp_path) == 1.0
    asked = next(q for q in questions(Battery("card", "en")) if q.name == "leaning")
    first = asked.items[: blocks(len(asked.items))[0]]
    said = remembered(tmp_path, "leaning", identity(base), (first, asked.how, 0), never)
    assert said[:3] == pytest.approx(refusal_margin(base, first[:3], "en"), abs=1e-2)
