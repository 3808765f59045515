"""Labelled texts as items: places of labels, cutoff, what is refused."""

from dataclasses import replace

import pytest

from trimtab.datasets.formats import Example
from trimtab.datasets.label_items import encoded, labels_in, table_lines, table_of
from trimtab.datasets.prepare import Dataset
from trimtab.errors import DataError
from trimtab.tasks.pretrained import load_tokenizer


def example(text, label):
    return Example(({"role": "user", "content": text}, {"role": "assistant", "content": label}))


def dataset(train, validation=(), test=()):
    sides = {"train": train, "validation": validation, "test": test}
    return Dataset("d", "text/label", {k: [example(*r) for r in v] for k, v in sides.items()}, 0, "as given")


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("bundled:minilm")


def test_labels_are_in_alphabetical_order():
    assert labels_in(dataset([("x", " spam "), ("y", "ham"), ("z", "spam")])) == ("ham", "spam")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (dataset([("x", "a"), ("y", "a")]), "one label only, a"),
        (dataset([("x", "a"), ("y", "b")], [("z", "A")]), r"\(validation\) has the label A, which no training"),
        (dataset([("x", "spam"), ("y", "Spam"), ("z", "ham")]), 'labels "spam" and "Spam", which differ in capitals'),
        (dataset([("x", "0.25"), ("y", "1.5"), ("z", "2.0")]), r"decimals \(0.25, 1.5\): these are measured"),
    ],
)
def test_labels_that_cannot_be_learned(data, said):
    with pytest.raises(DataError, match=said):
        labels_in(data)


def test_a_label_that_the_split_took_away_is_said_to_be_rare():
    sides = dataset([("x", "a"), ("y", "b")], test=[("z", "rare")])
    with pytest.raises(DataError, match=r"too few examples of rare \(1\)"):
        labels_in(replace(sides, how_split="seed 0, near-duplicates kept on one side"))


def test_a_long_text_is_cut_and_said(tokenizer):
    some = [example("one two three four five six", "b"), example("one", "a")]
    items = encoded(some, tokenizer, 6, ("a", "b"))
    assert [(i.size, i.cut, i.label, i.weight) for i in items] == [(6, 2, 1, 1), (3, 0, 0, 1)]
    assert encoded(some, tokenizer, None, ("a", "b"))[0].size == 8
    assert encoded([], tokenizer, 6, ("a", "b")) == []


def test_the_table_says_what_was_read(tokenizer):
    data = dataset([("one two three four", "a"), ("one", "b"), ("two", "b")])
    items = {s: encoded(e, tokenizer, 4, ("a", "b")) for s, e in data.examples.items()}
    table = table_of(data, ("a", "b"), items, 4)
    assert table["labels"] == {"b": 2, "a": 1}
    assert table["cut_examples"] == 1
    assert "Labels: b 2, a 1" in table_lines(table)[1]


def test_two_texts_are_joined_as_the_tokenizer_joins_pairs(tmp_path):
    import json

    from trimtab.datasets.label_items import ids_of
    from trimtab.datasets.prepare import load
    from trimtab.tasks.pretrained import load_tokenizer

    rows = [
        {"premise": f"a man number {i * 37} walks", "hypothesis": f"someone moves {i}", "label": ["yes", "no"][i % 2]}
        for i in range(40)
    ]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    dataset = load(str(tmp_path / "d.jsonl"), say=lambda _: None)
    assert dataset.form == "premise+hypothesis/label"
    tokenizer = load_tokenizer("bundled:minilm")
    first = dataset.examples["train"][0].prompt[-1]["content"]
    one, two = (part.strip() for part in first.split("\u241e"))
    assert ids_of([first, "alone"], tokenizer) == [
        tokenizer(one, two)["input_ids"], tokenizer("alone")["input_ids"],
    ]  # fmt: skip
    assert [len(ids) for ids in ids_of([first], tokenizer, 9)] == [9]
    named = [{"a b": r["premise"], "c": r["hypothesis"], "kind": r["label"]} for r in rows]
    (tmp_path / "n.jsonl").write_text("".join(json.dumps(r) + "\n" for r in named))
    again = load(f"{tmp_path / 'n.jsonl'}#a b+c,kind", say=lambda _: None)
    assert again.examples == dataset.examples
