import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.behaviour.scoring import degenerate, exact, overlap, parse_json, word_count


def test_degeneration():
    assert degenerate("")
    assert degenerate("the cat sat on " * 6)
    assert not degenerate("Paris.")
    assert not degenerate("the quick brown fox jumps over the lazy dog and runs away")


@pytest.mark.parametrize("answer", ["", "sure: {}", "[1]", "```json\n{}\n```", '{"a": }', "{} {}"])
def test_only_a_whole_json_object_is_valid(answer):
    assert parse_json(answer) is None


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), min_size=1, max_size=4))
def test_json_is_compared_as_values(value):
    import json

    text = json.dumps(value)
    spaced = json.dumps(dict(reversed(value.items())), indent=2)
    assert exact(spaced, text, True) == 1.0
    assert overlap(spaced, text, True) == pytest.approx(1.0)
    assert exact("no json", text, True) == 0.0


def test_partial_credit():
    assert overlap('{"a": 1, "b": 2}', '{"a": 1, "b": 3}', True) == 0.5
    assert overlap("the red lamp", "the blue lamp", False) == pytest.approx(2 / 3)
    assert overlap("开灯", "关灯", False) == 0.5
    assert overlap("", "x", False) == 0.0
    assert exact(" The  Lamp ", "the lamp", False) == 1.0


def test_repetition_without_spaces_is_repetition():
    assert degenerate("好的" * 20)
    assert degenerate("ha" * 60)
    assert not degenerate("今天天气很好，我们去公园散步，然后回家吃饭。")


def test_long_chinese_answers_are_not_one_word():
    assert word_count("今天天气很好，我们去公园散步，然后回家吃饭。") > 8
    assert word_count("turn the lamp on") == 4
