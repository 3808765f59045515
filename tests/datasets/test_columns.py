import json

import pytest

from trimtab.datasets.columns import columns_told, pair_of, split_name, with_columns
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


@pytest.mark.parametrize("own", [["text=frage", "r=8", "label=klasse"], {"label": "klasse", "r": 8, "text": "frage"}])
def test_columns_are_settings_too(own):
    data, rest = with_columns("d.csv", own)
    assert data == "d.csv#frage,klasse"
    assert rest in (["r=8"], {"r": 8})
    assert with_columns("d.csv", ["r=8"]) == ("d.csv", ["r=8"])


@pytest.mark.parametrize(
    ("data", "own", "said"),
    [
        ("d.csv", ["text=frage"], "name the two columns"),
        ("d.csv", ["text=a", "prompt=b", "label=c"], "name the two columns"),
        ("d.csv#a,b", ["text=a", "label=b"], "names its columns already"),
    ],
)
def test_half_a_pair_of_columns_is_one_sentence(data, own, said):
    with pytest.raises(DataError, match=said):
        with_columns(data, own)


def test_what_columns_says_may_have_commas_of_its_own():
    told = columns_told("prompt={title}, by {author}: {body},answer=reply")
    assert told == ["prompt={title}, by {author}: {body}", "answer=reply"]
    assert columns_told(None) == []


def test_a_template_is_filled_from_several_columns(tmp_path):
    path = tmp_path / "d.csv"
    lines = [f'"T{i} {{raw}}","body, {i}",{"ab"[i % 2]}' for i in range(40)]
    path.write_text("\n".join(["title,body,kind", *lines, '"T","",a']), encoding="utf-8")
    named = str(path) + r"#### Title: {title}\n{body},kind"
    rows = read(named).rows["train"]
    assert rows[1] == {"prompt": "### Title: T1 {raw}\nbody, 1", "completion": "b"}
    assert rows[-1]["prompt"] is None  # nothing is learned from half a text
    with pytest.raises(DataError, match='no column "titel"; did you mean "title"'):
        read(f"{path}#{{titel}}: {{body}},kind")
    for broken in ("{title}: {},kind", "{title}: {body,kind"):
        with pytest.raises(DataError, match=r"write columns as \{name\}"):
            read(f"{path}#{broken}")
