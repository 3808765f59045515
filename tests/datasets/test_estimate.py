"""Estimates against a real tokenizer and its template."""

import json
import re
from pathlib import Path
from pydoc_data.topics import topics
from statistics import median

import pytest

import trimtab
from trimtab.datasets.estimate import Estimate
from trimtab.datasets.formats import Example
from trimtab.datasets.prepare import load
from trimtab.datasets.tokens import lengths
from trimtab.probes.prompts import fact_questions, generic_prompts

SMOL = Estimate("HuggingFaceTB/SmolLM2-135M-Instruct", 49_152)


def paragraphs() -> list[str]:
    blocks = [re.sub(r"\s+", " ", b).strip() for text in topics.values() for b in text.split("\n\n")]
    return [b for b in blocks if len(b) > 80][:300]


KINDS = {
    "prose and markup": paragraphs,
    "questions": lambda: [f.question for f in fact_questions("en")],
    "prompts": lambda: list(generic_prompts("en")),
    "code": lambda: Path(trimtab.datasets.__path__[0]).joinpath("survey.py").read_text().split("\n\n\n")[1:],
    "records": lambda: [json.dumps({"id": i, "name": n, "place": [i, 2 * i]}) for i, n in enumerate(sorted(topics))],
}


@pytest.mark.parametrize("kind", KINDS)
def test_half_of_all_texts_are_estimated_within_a_twentieth(tiny_tokenizer, kind):
    texts = KINDS[kind]()
    true = [len(tiny_tokenizer(t, add_special_tokens=False)["input_ids"]) for t in texts]
    assert len(texts) > 15
    limit = 0.09 if kind == "records" else 0.05  # one-line records are mostly marks
    assert median(abs(SMOL.text(t) / n - 1) for t, n in zip(texts, true, strict=True)) <= limit


@pytest.mark.parametrize("data", ["bundled:home-commands", "bundled:home-commands-zh"])
def test_conversations_are_estimated_with_their_template(tiny_tokenizer, data):
    examples = load(data, say=lambda _: None).examples["train"]
    true = lengths(examples, tiny_tokenizer)
    guessed = [SMOL.lengths(e) for e in examples]
    assert median(abs(a / b - 1) for (a, _), (b, _) in zip(guessed, true, strict=True)) <= 0.05
    assert abs(sum(a for _, a in guessed) / sum(b for _, b in true) - 1) <= 0.1


def test_a_large_vocabulary_spends_less_on_chinese_and_on_marks():
    large = Estimate("Qwen/Qwen2.5-7B-Instruct", 152_064)
    text = '{"动作": "打开卧室的灯"}'
    assert large.text(text) < SMOL.text(text)


def test_the_prompt_that_a_template_adds_is_left_out_where_one_is_given():
    turns = ({"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"})
    plain, told = Example(turns), Example(({"role": "system", "content": ""}, *turns))
    assert SMOL.lengths(plain)[0] > SMOL.lengths(told)[0]
    assert Estimate().lengths(plain)[0] < SMOL.lengths(plain)[0]
