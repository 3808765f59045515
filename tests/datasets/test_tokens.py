import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.datasets.formats import Example
from trimtab.datasets.prepare import load, percentile, tokenise_dataset
from trimtab.datasets.tokens import _marks, lengths, prompt_ids, refuses_system, tokenise
from trimtab.errors import DataError


def chat(*turns):
    roles = ["user", "assistant"]
    return Example(tuple({"role": roles[i % 2], "content": t} for i, t in enumerate(turns)))


def learned(tokens, tokenizer):
    return tokenizer.decode([t for t, on in zip(tokens.ids, tokens.labelled, strict=True) if on])


def test_only_the_answers_are_learned_and_their_end(tiny_tokenizer):
    (tokens,) = tokenise([chat("hello there", "hi", "and you?", "fine")], tiny_tokenizer, 512)
    assert learned(tokens, tiny_tokenizer) == "hi<|im_end|>fine<|im_end|>"
    assert tokens.cut == 0


def test_the_prompt_is_a_prefix_of_the_example(tiny_tokenizer):
    example = chat("what is 2+2?", '{"answer": 4}')
    (tokens,) = tokenise([example], tiny_tokenizer, 512)
    prompt = prompt_ids(example.prompt, tiny_tokenizer)
    assert tokens.ids[: len(prompt)] == prompt
    assert tokens.labelled.index(True) == len(prompt)


def test_the_cutoff_cuts_the_answers_end(tiny_tokenizer):
    example = chat("hello", "one two three four five six seven eight")
    (whole,), (cut,) = tokenise([example], tiny_tokenizer, 512), tokenise([example], tiny_tokenizer, 40)
    assert cut.ids == whole.ids[:40]
    assert cut.cut == len(whole.ids) - 40


def test_a_model_without_template_gets_plain_text(tiny_tokenizer):
    template = tiny_tokenizer.chat_template
    try:
        tiny_tokenizer.chat_template = None
        (tokens,) = tokenise([chat("hello", "hi")], tiny_tokenizer, 512)
        assert learned(tokens, tiny_tokenizer).startswith("hi")
    finally:
        tiny_tokenizer.chat_template = template


def test_every_label_masked_is_an_error(small_file, tiny_tokenizer):
    with pytest.raises(DataError, match="every label is masked"):
        tokenise_dataset(load(str(small_file)), tiny_tokenizer, 12)


def test_the_table_counts(small_data):
    table, train = small_data.table, small_data.splits["train"]
    assert table["examples"]["train"] == len(train)
    assert table["tokens"] == sum(len(t.ids) for t in train)
    assert table["label_tokens"] == sum(t.weight for t in train)
    assert "".join(text for text, _ in table["first"]).startswith("<|im_start|>")
    assert [on for _, on in table["first"]][:2] == [False, True]


def test_too_little_data(tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("prompt,completion\n" + "".join(f"question {i},a{i}\n" for i in range(9)))
    with pytest.raises(DataError, match="too few"):
        load(str(path))


def test_percentiles():
    assert [percentile(list(range(1, 101)), p) for p in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([7], 50) == 7
    rows = sorted(random.Random(1).choices(range(500), k=333))
    for p in (1, 5, 50, 95, 99, 100):  # the smallest value that at least p % do not exceed
        assert percentile(rows, p) == next(v for v in rows if sum(x <= v for x in rows) * 100 >= p * len(rows))


STRICT = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def test_a_template_without_system_turns_gets_them_joined_to_the_user(tiny_tokenizer):
    import copy

    strict = copy.deepcopy(tiny_tokenizer)
    strict.chat_template = STRICT
    turns = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Ho")]
    example = Example(tuple({"role": r, "content": c} for r, c in turns))
    (tokens,) = tokenise([example], strict, 100)
    text = strict.decode(tokens.ids)
    assert text == "<user>Be brief.\n\nHi</s><assistant>Ho</s>"
    learned = strict.decode([t for t, on in zip(tokens.ids, tokens.labelled, strict=True) if on])
    assert learned == "Ho</s>"
    assert refuses_system(strict)
    assert not refuses_system(tiny_tokenizer)
    twice = Example(tuple({"role": r, "content": "x"} for r in ("user", "user", "assistant")))
    with pytest.raises(DataError, match="refuses a conversation of user, user"):
        tokenise([twice], strict, 100)


def test_lengths_agree_with_the_tokens(tiny_tokenizer):
    """Counting alone is quicker; the answer's tokens are counted apart, so that a joined token may differ by one."""
    examples = [
        chat("hello there", "hi", "and you?", "fine"),
        chat("what is 2+2?", '{"answer": 4}'),
        chat("a " * 50, "b " * 80),
    ]
    told = []
    for (whole, answer), tokens in zip(
        lengths(examples, tiny_tokenizer, lambda *a: told.append(a)),
        tokenise(examples, tiny_tokenizer, 10**6),
        strict=True,
    ):
        assert whole == len(tokens.ids)
        assert abs(answer - sum(tokens.labelled)) <= 1
    assert told == [("Counting tokens", 3, 3)]


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 30), min_size=2, max_size=4, unique=True))
def test_marks_are_those_of_looking_at_every_token(sizes, edges):
    offsets, place = [], 0
    for size in sizes:
        offsets.append((place, place + size))
        place += size
    cuts = sorted(edges)
    answers = list(zip(cuts[::2], cuts[1::2], strict=False))
    spans = any(start < edge < end for start, end in offsets for span in answers for edge in span)
    slow = [any(a <= start and end <= b and end > start for a, b in answers) for start, end in offsets]
    assert _marks(offsets, answers) == (None if spans else slow)
