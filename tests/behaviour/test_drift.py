import dataclasses
import math

import pytest
import torch

from trimtab.behaviour.answering import Answer, answers
from trimtab.behaviour.card import ask_task, cost, task_numbers, task_of
from trimtab.behaviour.drift import full_drift, kl, pulse, reference
from trimtab.behaviour.pair_responses import log_length_ratios
from trimtab.datasets.prepare import load
from trimtab.probes.prompts import CARD_PROMPTS, TEXTS, generic_prompts, generic_texts


def test_kl_by_hand():
    p, q = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
    assert float(kl(p, q)) == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(5), rel=1e-5)
    assert float(kl(p, p)) == 0.0


def test_the_null_is_zero_and_a_moved_model_is_seen(evaluated_models):
    base, still, moved = evaluated_models
    ref = reference(base)
    assert max(pulse(still, ref)["kl_pulse"]) == 0.0
    assert min(pulse(moved, ref)["kl_pulse"]) > 0.01
    null, real = full_drift(base, still, ref), full_drift(base, moved, ref)
    assert null["nll_tuned"] == null["nll_base"]
    assert max(null["kl_generic"]) == 0.0
    assert real["nll_tuned"] != real["nll_base"]
    assert len(real["kl_first_token"]) == len(real["kl_generic"])


def test_the_batch_size_does_not_change_an_answer(evaluated_models):
    base, _, moved = evaluated_models
    prompts = [
        ({"role": "user", "content": p},)
        for p in ("hi", "a much longer prompt, to be padded against", "why?", "one two three")
    ]
    whole = [answers(s, prompts, 12) for s in (base, moved)]
    single = [answers(s, [p], 12)[0] for s in (base, moved) for p in prompts]
    assert [a.tokens for row in whole for a in row] == [a.tokens for a in single]
    assert whole[0] != whole[1]


def test_base_answers_are_kept_by_model(evaluated_models, tmp_path):
    base = evaluated_models[0]
    first = reference(base, tmp_path)
    assert len(list(tmp_path.glob("generic-*.json"))) == 1
    assert reference(base, tmp_path).answers == first.answers
    next(base.base.model.parameters()).data.add_(0.5)
    reference(base, tmp_path)
    assert len(list(tmp_path.glob("generic-*.json"))) == 2


def test_numbers_of_a_task(evaluated_models, small_file, tiny_tokenizer):
    task = task_of(load(str(small_file)).examples["test"], False, tiny_tokenizer)
    said = ask_task(evaluated_models[0], task)
    numbers = task_numbers(said, task)
    assert set(numbers) == {"exact_match", "overlap", "bleu", "chrf", "rouge_l"}
    assert len(numbers["exact_match"]) == len(task.examples)


def test_the_probes_are_there():
    assert len(generic_prompts("en")) >= CARD_PROMPTS
    assert len(generic_prompts("zh")) >= 8
    assert len(generic_texts()) == TEXTS
    assert all(len(t) > 300 for t in generic_texts())


def test_the_metric_fits_the_task(small_file, tiny_tokenizer):
    from trimtab.datasets.formats import Example

    assert task_of(load(str(small_file)).examples["test"], False, tiny_tokenizer).metric == "exact_match"
    essay = Example(
        ({"role": "user", "content": "why?"}, {"role": "assistant", "content": "because of many things " * 9})
    )
    assert task_of([essay], False, tiny_tokenizer).metric == "overlap"
    assert task_of([essay], True, tiny_tokenizer).metric == "exact_match"


def test_lengths_are_compared_where_at_least_one_answer_ended():
    def said(tokens, ended=True):
        return Answer("", tuple(range(tokens)), ended)

    base = [said(10), said(64, False), said(64, False), said(0)]
    tuned = [said(20), said(64, False), said(16), said(1)]
    assert log_length_ratios(base, tuned) == [math.log(2), -math.log(4), 0.0]


def test_a_card_is_not_reckoned_as_if_small_batches_were_cheap(small_file, tiny_tokenizer):
    task = task_of(load(str(small_file)).examples["test"], False, tiny_tokenizer)
    few, many = (dataclasses.replace(task, examples=(task.examples[0],) * n, max_new_tokens=64) for n in (6, 60))
    assert cost(many, 60) < cost(few, 60) < 3 * cost(many, 60)
