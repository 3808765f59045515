import json

import pytest

from trimtab.errors import SpecError
from trimtab.spec.probe import load_probes

GOOD = """
scorer: {type: contains}
items:
  - {prompt: "Capital of France?", reference: Paris}
  - messages: [{role: system, content: brief}, {role: user, content: "Capital of Italy?"}]
    reference: Rome
"""


def test_a_folder_of_probes(tmp_path):
    (tmp_path / "capitals.yaml").write_text(GOOD, encoding="utf-8")
    rows = [{"prompt": "Say yes.", "scorer": {"type": "choice", "options": ["yes", "no"]}}]
    (tmp_path / "my choice.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("not a probe", encoding="utf-8")
    one, two = load_probes(tmp_path)
    assert (one.name, len(one.items), two.name) == ("capitals", 2, "my-choice")
    assert one.items[1].asked[-1]["content"] == "Capital of Italy?"
    assert two.scorer_of(two.items[0]).type == "choice"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scorer: {type: bleu}\nitems: [{prompt: a}]", 'unknown scorer "bleu"; allowed are exact, contains'),
        ("scorer: {pattern: a}\nitems: [{prompt: a}]", "a scorer needs a type"),
        ("items: [{prompt: a}]", "item 1 has no scorer"),
        ("scorer: {type: exact}\nitems: [{prompt: a}]", "item 1: scorer exact needs a reference"),
        ("scorer: {type: regex, pattern: '('}\nitems: [{prompt: a}]", "no regular expression"),
        ("scorer: {type: json_schema, schema: {type: 7}}\nitems: [{prompt: a}]", "no JSON schema"),
        ("scorer: {type: sql}\nitems: []", "items"),
        ("scorer: {type: sql}\nitems: [{reference: a}]", "needs prompt (text) or messages"),
        ("- a\n- b", "mapping with scorer and items"),
        ("{", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, said):
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as error:
        load_probes(tmp_path)
    assert said in str(error.value)
    assert "p.yaml" in str(error.value)


def test_the_problems_of_all_files_at_once(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.yaml").write_text("scorer: {type: bleu}\nitems: [{prompt: a}]", encoding="utf-8")
    with pytest.raises(SpecError) as error:
        load_probes(tmp_path)
    assert len(error.value.problems) == 2
    with pytest.raises(SpecError, match=r"no such folder"):
        load_probes(tmp_path / "nowhere")


def test_every_bad_line_of_a_file_is_said(tmp_path):
    (tmp_path / "c.jsonl").write_text(
        '{"prompt": "a", "scorer": {"type": "regex", "pattern": "("}}\n{"promt": "b"}\n{not json\n', encoding="utf-8"
    )
    with pytest.raises(SpecError) as error:
        load_probes(tmp_path)
    said = "\n".join(error.value.problems)
    assert all(f"c.jsonl, line {i}" in said for i in (1, 2, 3))
