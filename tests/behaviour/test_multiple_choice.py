"""Multiple choice without generating: probabilities by the chain rule, whatever the order and the batch."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trimtab.behaviour.multiple_choice import _softmax, option_probabilities
from trimtab.datasets.tokens import prompt_ids
from trimtab.probes.prompts import Fact, as_messages, briefly

FACTS = [
    Fact("a", "k", "What is the capital of France?", ("Paris", "Rome", "New York City", "42"), ("paris",)),
    Fact("b", "k", "How many legs has a spider?", ("eight", "six", "four hundred", "one"), ("8",)),
    Fact("c", "k", "Is water wet, and why would anybody ask that?", ("yes", "no", "sometimes", "maybe"), ("yes",)),
]


@given(st.lists(st.floats(-2000, 0), min_size=1, max_size=6))
def test_softmax_sums_to_one_and_keeps_the_order_however_unlikely_all_are(values):
    found = _softmax(values)
    assert sum(found) == pytest.approx(1)
    assert found[values.index(max(values))] == max(found)
    assert _softmax([v + 1000 for v in values]) == pytest.approx(found)


def test_a_probability_is_that_of_the_whole_option_after_the_question(evaluated_models):
    """Each question and option through the model by itself: the product of its tokens' probabilities, normalised."""
    base, found = evaluated_models[0], []
    tokenizer, model = base.base.tokenizer, base.base.model
    for f in FACTS:
        (asked,) = (prompt_ids(m, tokenizer) for m in as_messages([briefly(f.question, "en")]))
        sums = []
        for option in f.options:
            said = tokenizer(option, add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([[*asked, *said]])).logits[0]
            steps = torch.log_softmax(logits.float(), -1)[len(asked) - 1 : -1]
            sums.append(float(steps.gather(1, torch.tensor(said)[:, None]).sum()))
        found.append([math.exp(s) / sum(map(math.exp, sums)) for s in sums])
    ours = option_probabilities(base, [f.question for f in FACTS], FACTS, "en")
    assert ours == [pytest.approx(row, rel=1e-3) for row in found]


def test_the_place_of_an_option_and_the_other_questions_do_not_matter(evaluated_models):
    moved = evaluated_models[2]
    turned = [Fact(f.id, f.kind, f.question, f.options[::-1], f.accept) for f in FACTS]
    questions = [f.question for f in FACTS]
    whole = option_probabilities(moved, questions, FACTS, "en")
    assert [row[::-1] for row in option_probabilities(moved, questions, turned, "en")] == [
        pytest.approx(row, rel=1e-3) for row in whole
    ]
    assert option_probabilities(moved, questions[:1], FACTS[:1], "en")[0] == pytest.approx(whole[0], rel=1e-3)
    assert whole != option_probabilities(evaluated_models[0], questions, FACTS, "en")
