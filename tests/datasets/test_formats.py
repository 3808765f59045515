import pytest

from trimtab.datasets.formats import to_examples
from trimtab.errors import DataError

FORMS = {
    "alpaca": {"instruction": "Add", "input": "1 2", "output": "3"},
    "sharegpt": {"conversations": [{"from": "human", "value": "Add\n1 2"}, {"from": "gpt", "value": "3"}]},
    "messages": {"messages": [{"role": "user", "content": "Add\n1 2"}, {"role": "assistant", "content": "3"}]},
    "prompt/completion": {"prompt": "Add\n1 2", "completion": "3"},
    "question/answer": {"question": "Add\n1 2", "answer": "3"},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_example(form):
    found, examples, dropped = to_examples([FORMS[form]], "x")
    assert (found, dropped) == (form, 0)
    assert examples[0].messages == ({"role": "user", "content": "Add\n1 2"}, {"role": "assistant", "content": "3"})
    assert examples[0].answer == "3"


def test_system_history_and_trailing_turns():
    row = {"instruction": "b", "output": "B", "system": "s", "history": [["a", "A"]]}
    assert [m["content"] for m in to_examples([row], "x")[1][0].messages] == ["s", "a", "A", "b", "B"]
    turns = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "A"}, {"from": "human", "value": "b"}]
    assert to_examples([{"conversations": turns}], "x")[1][0].answer == "A"


def test_empty_sides_are_dropped_and_counted():
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": " "}, {"prompt": "", "completion": "x"}]
    _, examples, dropped = to_examples(rows, "x")
    assert len(examples) + dropped == 3
    assert dropped >= 1
    with pytest.raises(DataError, match="nothing to learn from"):
        to_examples([{"prompt": "a", "completion": ""}], "x")


def test_wrong_columns_are_named():
    with pytest.raises(DataError, match=r"columns body, title.*alpaca"):
        to_examples([{"title": "a", "body": "b"}], "x")
    with pytest.raises(DataError, match="example 2 is not of the"):
        to_examples([{"prompt": "a", "completion": "b"}, {"prompt": "a"}], "x")
    with pytest.raises(DataError, match="unknown role"):
        to_examples([{"messages": [{"role": "boss", "content": "x"}]}], "x")


def test_alpaca_with_gaps_and_a_broken_history():
    rows = [{"instruction": "a", "output": "b"}, {"instruction": None, "input": "only this", "output": "c"}]
    assert [e.prompt[0]["content"] for e in to_examples(rows, "x")[1]] == ["a", "\nonly this"]
    with pytest.raises(DataError, match="example 2 is not of the alpaca form"):
        to_examples([rows[0], {**rows[0], "history": [["x"]]}], "x")


def test_labels_may_be_numbers():
    form, examples, dropped = to_examples(
        [{"text": "fine film", "label": 1}, {"text": "dull", "label": 0}, {"text": "odd", "label": ""}], "d"
    )
    assert form == "text/label"
    assert [e.answer for e in examples] == ["1", "0"]
    assert dropped == 1


def test_of_pairs_the_chosen_answer_counts():
    row = {"prompt": "p", "chosen": "good", "rejected": "bad"}
    turns = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "good"}]
    for rows in ([row], [{"chosen": turns, "rejected": turns}]):
        _, examples, _ = to_examples(rows, "x")
        assert list(examples[0].messages) == turns
