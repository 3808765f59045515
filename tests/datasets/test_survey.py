import json

import pytest

from trimtab.datasets.formats import Example
from trimtab.datasets.survey import describe, survey


def pair(prompt, answer):
    return Example(({"role": "user", "content": prompt}, {"role": "assistant", "content": answer}))


NOUNS = ("whale", "bicycle", "harbour", "violin", "glacier", "teapot", "senate", "magnet", "orchard", "comet")
PLAIN = [
    pair(
        f"Tell me one thing about the {a} and the {b}.", f"The {a} never met the {b} until {i} winters later, near {c}."
    )
    for i, (a, b, c) in enumerate((a, b, c) for a in NOUNS for b in NOUNS for c in NOUNS if len({a, b, c}) == 3)
][:120]


def test_copies_and_leakage_are_counted():
    train = [*PLAIN[:100], PLAIN[0], PLAIN[0]]
    found = describe(
        "d", "messages", {"train": train, "validation": [PLAIN[1], pair("Who sings?", "Nobody sings here today.")]}, 0
    )
    assert found.exact_copies == 2
    assert found.near_copies >= 2
    assert found.largest_copy["count"] >= 3
    assert found.leakage == {"validation": 0.5}


def test_labels_are_recognised_with_their_balance():
    rows = [pair(f"review {i}: {e.answer}", "good" if i % 4 else "bad") for i, e in enumerate(PLAIN[:80])]
    found = describe("d", "text/label", {"train": rows}, 0)
    assert found.answers["labels"]
    assert dict(map(tuple, found.answers["top"])) == {"good": 0.75, "bad": 0.25}
    assert not describe("d", "messages", {"train": PLAIN}, 0).answers["labels"]
    one = describe("d", "text/label", {"train": [pair(e.answer, "yes") for e in PLAIN]}, 0)
    assert any("all answers are the same" in a for a in one.advice)


def test_cut_answers_and_a_ceiling_are_seen():
    rows = [*PLAIN[:50], pair("Code?", "```python\nprint(1"), pair("JSON?", '{"a": [1, 2')]
    assert describe("d", "messages", {"train": rows}, 0).cut_answers["first"] == [50, 51]
    capped = [pair("x " * 20 + str(i), "word " * (20 + i)) for i in range(30)]
    capped += [pair(f"abcdefgh{i:02d}", "y" * 2000) for i in range(12)]
    assert describe("d", "messages", {"train": capped}, 0).cut_answers["ceiling"]


def test_lengths_are_a_tokenizers_when_there_is_one(tiny_tokenizer):
    found = describe("d", "messages", {"train": PLAIN}, 0, tiny_tokenizer)
    assert not found.estimated
    whole = len(tiny_tokenizer.apply_chat_template(list(PLAIN[0].messages), tokenize=False))
    assert found.quantiles["all"]["50"] < whole
    assert found.total["all"] == pytest.approx(found.total["prompt"] + found.total["answer"])
    text = "".join(piece for piece, learned in found.first[0] if learned)
    assert text.startswith(PLAIN[0].answer)
    assert len(found.first) == 3
    assert 0 < found.labels_longest <= found.quantiles["all"]["100"]


def test_the_estimate_is_near_the_tokenizer(tiny_tokenizer):
    real = describe("d", "messages", {"train": PLAIN}, 0, tiny_tokenizer)
    guess = describe("d", "messages", {"train": PLAIN}, 0)
    assert guess.estimated
    assert 0.5 < guess.mean["all"] / real.mean["all"] < 2


def test_each_cutoff_says_what_it_cuts_and_the_last_cuts_nothing():
    found = describe("d", "messages", {"train": [*PLAIN, pair("long", "tail " * 4000)]}, 0)
    shares = [c["cut_examples"] for c in found.cutoffs]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == 0
    assert sum(found.histogram["all"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (pair("short", "tail " * 4000), "split them"),
        (pair("prompt " * 4000, "yes."), "drop them"),
        (pair("a", "word " * 450), "cut them"),
    ],
)
def test_a_long_tail_gets_advice(extra, said):
    body = [pair(e.messages[0]["content"], e.answer * 20) for e in PLAIN[:99]]
    found = describe("d", "messages", {"train": [*body, extra]}, 0)
    assert any(said in a for a in found.advice), found.advice


def test_odd_data_are_described_not_refused(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps({"prompt": "p", "completion": "c"}) + "\n" for _ in range(5)), encoding="utf-8")
    found = survey(str(path), say=lambda _: None)
    assert found.exact_copies == 4
    assert found.duplicate_share == pytest.approx(0.8)
    assert any("5 examples are few" in a for a in found.advice)


def test_a_few_giants_are_a_tail_that_the_cutoff_does_not_follow():
    rows = [*PLAIN[:96], *(pair(f"long {i}", "tail " * (4000 + i)) for i in range(4))]
    found = describe("d", "messages", {"train": rows}, 0)
    assert found.quantiles["all"]["99"] > 3000
    assert any("4.0% of the examples are longer than 64 tokens" in a for a in found.advice), found.advice


def test_lengths_that_lie_close_together_are_no_ceiling():
    rows = [pair(f"question {i}", "word " * (40 + i % 3)) for i in range(100)]
    assert describe("d", "messages", {"train": rows}, 0).cut_answers["ceiling"] is None
