import json

import pytest

from trimtab.datasets.columns import pair_of, split_name
from trimtab.datasets.prepare import load
from trimtab.datasets.read import read
from trimtab.errors import DataError
from trimtab.forecasting import cache


@pytest.mark.parametrize(
    ("columns", "pair"),
    [
        ({"question", "reply"}, ("question", "reply")),
        ({"Text", "Summary", "id"}, ("Text", "Summary")),
        ({"prompt", "completion", "label"}, ("prompt", "completion")),
        ({"utterance", "intent"}, ("utterance", "intent")),
        ({"title", "body"}, None),
    ],
)
def test_usual_names_are_known(columns, pair):
    assert pair_of(columns) == pair


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_columns_are_named_behind_the_file(tmp_path, suffix):
    path = tmp_path / f"d.{suffix}"
    rows = [{"frage": f"Was ist {i} + 1?", "antwort": i + 1, "quelle": "ich"} for i in range(40)]
    mark = "\t" if suffix == "tsv" else ","
    text = "".join(json.dumps(r) + "\n" for r in rows) if suffix == "jsonl" else "\n".join(
        [mark.join(rows[0]), *(mark.join(map(str, r.values())) for r in rows)]
    )  # fmt: skip
    path.write_text(text, encoding="utf-8")
    example = load(f"{path}#frage,antwort", say=lambda _: None).examples["train"][0]
    assert example.messages[0]["content"].startswith("Was ist")
    assert example.answer.isdigit()  # a number is learned as its text
    with pytest.raises(DataError, match=r"none of the known forms.*d\.\w+#ASKED,ANSWERED"):
        load(str(path), say=lambda _: None)
    with pytest.raises(DataError, match='no column "fragen"; did you mean "frage"'):
        read(f"{path}#fragen,antwort")
    with pytest.raises(DataError, match="name two columns"):
        read(f"{path}#frage")
    before = cache.of_files(f"{path}#frage,antwort")
    path.write_text(text + "\n", encoding="utf-8")
    assert cache.of_files(f"{path}#frage,antwort") != before


def test_a_file_whose_name_has_the_mark_is_a_file(tmp_path):
    path = tmp_path / "a#b.jsonl"
    path.write_text("{}", encoding="utf-8")
    assert split_name(str(path)) == (str(path), None)


def test_two_texts_that_a_label_says_something_of():
    from trimtab.datasets.columns import asked_in, pair_of, parts_of

    assert pair_of({"Premise", "hypothesis", "label", "id"}) == ("Premise+hypothesis", "label")
    assert pair_of({"premise", "label", "text"}) == ("text", "label")
    row = {"a": "one", "b": "two", "c+d": "three", "e": " "}
    assert parts_of("c+d", row) == ["c+d"]
    assert asked_in(row, "a+b") == "one\n\u241e\ntwo"
    assert (asked_in(row, "a+e"), asked_in(row, "a+missing"), asked_in(row, "c+d")) == (None, None, "three")
