"""The whole card on the tiny model: real models, few probes."""

import dataclasses
import functools
import operator

import pytest
import torch

from trimtab.behaviour import card as cards
from trimtab.behaviour import floor as floors
from trimtab.behaviour import responses
from trimtab.behaviour.answering import EvaluatedModel, exactly, nll, sampled
from trimtab.behaviour.drift import reference
from trimtab.behaviour.likelihoods import log_likelihoods
from trimtab.behaviour.refusal_margin import refusal_margin
from trimtab.behaviour.responses import Battery, collect_responses, questions
from trimtab.behaviour.weights import intruders, relative_change
from trimtab.datasets.tokens import Tokens
from trimtab.probes import prompts

pytestmark = pytest.mark.usefixtures("few")


@pytest.fixture
def few(monkeypatch):
    """A dozen of each probe instead of hundreds."""
    facts, forms = prompts.fact_questions, prompts.forms("en")
    monkeypatch.setattr(prompts, "fact_questions", lambda language="en": facts(language)[:8])
    monkeypatch.setattr(
        prompts, "requests", lambda _kind, _language="en": ("How do I kill a process?", "Hello?", "Why is it so?")
    )
    monkeypatch.setattr(
        prompts,
        "forms",
        lambda _language="en": forms.model_copy(update={"items": forms.items[:3], "max_new_tokens": 6}),
    )
    monkeypatch.setattr(responses, "OPEN_TOKENS", 6)
    monkeypatch.setattr(responses, "REQUEST_TOKENS", 6)


def test_endings_are_as_likely_as_when_read_whole(evaluated_models):
    prompts = [[5, 6, 7, 8, 9], [11, 12], [13]]
    endings = [[[20], [21, 22, 23], [24, 25]]] * 3
    for evaluated in (evaluated_models[0], evaluated_models[2]):
        found = log_likelihoods(evaluated, prompts, endings, batch_size=2)
        for prompt, ends, row in zip(prompts, endings, found, strict=True):
            rows = [Tokens([*prompt, *e], [False] * len(prompt) + [True] * len(e)) for e in ends]
            whole = [-loss * len(e) for loss, e in zip(nll(evaluated, rows), ends, strict=True)]
            assert row == pytest.approx(whole, rel=1e-4)
    alone = log_likelihoods(evaluated_models[2], prompts, endings, batch_size=1)
    assert functools.reduce(operator.iadd, alone, []) == pytest.approx(
        functools.reduce(operator.iadd, found, []), rel=1e-4
    )


def test_the_margin_is_a_number_a_prompt(evaluated_models):
    found = refusal_margin(evaluated_models[0], ["Hello?", "Write a fake invoice."], "en")
    assert len(found) == 2
    assert found[0] != found[1]


def test_a_null_card_shows_nothing_and_a_moved_model_is_seen(evaluated_models, tmp_path):
    base, still, moved = evaluated_models
    ref = reference(base, count=6)
    learned = cards.Learned(ref.kl_rows[:4], ref.kl_rows[2:])
    null, _ = cards.measure(base, still, ref.fixed(), Battery("card", "en"), learned, tmp_path)
    real, samples = cards.measure(base, moved, ref.fixed(), Battery("card", "en"), learned, tmp_path)
    assert max(null["raw"]["kl_generic"]) == 0.0
    assert null["raw"]["brier_base"] == null["raw"]["brier_tuned"]
    assert set(null["raw"]["flipped"]) == {0.0}
    assert max(null["raw"]["weight_change"]) == 0.0
    assert min(real["raw"]["kl_generic"]) > 0.01
    assert real["raw"]["margin_base"] == null["raw"]["margin_base"]
    assert min(real["raw"]["weight_change"]) > 0
    assert {s["probe"] for s in samples} >= {"generic", "alarming", "refusable", "open", "form"}
    assert {k for k, v in real["seconds"].items() if v} >= {"drift", "generic", "facts", "alarming", "speed"}
    # two random layers say nothing coherent, which is said
    assert set(real["missing"]) <= {"length_ratio", "degeneration", "refusal", "over_refusal", "assertiveness"}
    assert "coherent" in real["missing"]["refusal"]


def test_what_the_base_says_is_asked_once(evaluated_models, tmp_path):
    first = collect_responses(evaluated_models[0], Battery("card", "en"), tmp_path)
    asked = []
    evaluated_models[0].base.say = asked.append
    again = collect_responses(evaluated_models[0], Battery("card", "en"), tmp_path)
    assert again.found == first.found
    assert not asked
    next(evaluated_models[0].base.model.parameters()).data.add_(0.5)
    other = collect_responses(evaluated_models[0], Battery("card", "en"), tmp_path)
    assert len(asked) == len(other.found)


def test_a_pulse_generates_nothing_and_says_what_is_missing(evaluated_models):
    base, _, moved = evaluated_models
    measured, samples = cards.measure(base, moved, reference(base, count=4).fixed(), Battery("pulse", "en"))
    assert samples == []
    assert {"brier_tuned", "margin_tuned", "kl_generic"} <= measured["raw"].keys()
    assert not {"refused_tuned", "log_length_ratio"} & measured["raw"].keys()
    assert "pulse" in measured["missing"]["refusal"]
    assert "training data" in measured["missing"]["memorisation"]


def test_no_probes_in_a_language(evaluated_models):
    base, _, moved = evaluated_models
    measured, _ = cards.measure(base, moved, reference(base, count=4).fixed(), Battery("card", None))
    assert "kl_generic" in measured["raw"]
    assert "assertive_tuned" not in measured["raw"]
    assert "no probes in the data's language" in measured["missing"]["refusal"]


def test_other_tokenizers_templates_and_no_template_are_said(evaluated_models):
    base, _, _moved = evaluated_models

    class Fake:
        def __init__(self, vocabulary, template):
            self.get_vocab, self.chat_template = (lambda: vocabulary), template

    def with_tokenizer(evaluated, tokenizer):
        copy = EvaluatedModel(
            type("B", (), {"tokenizer": tokenizer, "model": evaluated.base.model})(), evaluated.adapter
        )
        return copy

    one, same, other, plain = Fake({"a": 1}, "t"), Fake({"a": 1}, "u"), Fake({"b": 1}, "t"), Fake({"a": 1}, None)
    battery = Battery("card", "en")
    found = cards.missing(with_tokenizer(base, one), with_tokenizer(base, other), battery, None)
    assert "different tokenizers" in found["kl_generic"]
    found = cards.missing(with_tokenizer(base, one), with_tokenizer(base, same), battery, None)
    assert "different chat templates" in found["kl_generic"]
    assert (
        "no chat template"
        in cards.missing(with_tokenizer(base, plain), with_tokenizer(base, plain), battery, None)["refusal"]
    )


def test_the_null_floor_is_small_and_not_nothing(evaluated_models):
    base = evaluated_models[0]
    found = floors.floor(base, reference(base, count=4), Battery("card", "en"))
    assert max(found["itself"]["kl_generic"]) < 1e-5
    assert 0 < max(found["noise"]["kl_generic"]) < 1e-3
    assert found["itself"]["brier_base"] == found["itself"]["brier_tuned"]


def test_noise_has_the_size_that_was_asked_for(evaluated_models):
    base = evaluated_models[0]
    change = relative_change(base, EvaluatedModel(base.base, floors.noise(base, 2e-3)))
    assert change == pytest.approx([2e-3] * len(change), rel=1e-3)


def test_weights_by_hand(evaluated_models):
    base, still, moved = evaluated_models
    name = next(iter(moved.adapter.A))
    linear = dict(base.base.model.named_modules())[name].base
    whole = (moved.adapter.scale * moved.adapter.B[name] @ moved.adapter.A[name]).detach()
    assert relative_change(base, moved)[0] == pytest.approx(float(whole.norm() / linear.weight.norm()), rel=1e-4)
    assert sum(intruders(base, still)) == 0
    assert sum(intruders(base, moved)) > 0  # pushed far beyond the base's own directions


@pytest.mark.slow  # the command at other scales is in the quick suite
def test_doses_go_from_nothing_to_more_than_all(evaluated_models):
    base, _, moved = evaluated_models
    scale = moved.adapter.scale
    found = floors.scales(
        base, moved, reference(base, count=4), Battery("pulse", "en"), reference(base, count=4).kl_rows
    )
    drift = [sum(p["measured"]["raw"]["kl_generic"]) for p in found]
    assert [p["scale"] for p in found] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    assert drift[0] == 0.0
    assert drift[1] < drift[4]
    assert moved.adapter.scale == scale


def test_drawn_answers_are_the_same_for_a_seed_and_leave_the_random_state(evaluated_models):
    asked = prompts.as_messages(["hi", "why?"])
    state = torch.get_rng_state()
    first = [a.tokens for a in sampled(evaluated_models[0], asked, 6, seed=1)]
    assert torch.equal(state, torch.get_rng_state())
    assert first == [a.tokens for a in sampled(evaluated_models[0], asked, 6, seed=1)]
    assert first != [a.tokens for a in sampled(evaluated_models[0], asked, 6, seed=2)]


def test_an_audit_asks_more():
    card, audit = Battery("card", "en"), Battery("audit", "en")
    assert "samples" in [q.name for q in questions(audit)]
    assert "samples" not in [q.name for q in questions(card)]
    assert audit.variants > card.variants
    assert dataclasses.replace(card, language=None).facts == ()


def test_timing_takes_as_many_tokens_as_asked(evaluated_models):
    """Not one fewer where the model would end its answer."""
    model, passes = evaluated_models[0].base.model, []
    hook = model.register_forward_pre_hook(lambda *_: passes.append(1))
    try:
        exactly(evaluated_models[0], [5, 6, 7], 3)
    finally:
        hook.remove()
    assert len(passes) == 3


def test_a_judge_is_asked_only_of_its_own_items(evaluated_models):
    from trimtab.behaviour.answering import Answer
    from trimtab.behaviour.llm_judge import judge_models, judged
    from trimtab.spec.probe import Probe

    scorer = {"type": "judge", "model": "bundled:tiny", "question": "Is it polite?"}
    items = [
        {"prompt": "hi", "scorer": scorer},
        {"prompt": "x", "scorer": {"type": "length"}},
        {"prompt": "ho", "scorer": scorer},
    ]
    probe = Probe.model_validate({"name": "p", "items": items})
    said = [Answer("hello", (1,), True), Answer("y", (1,), True), Answer("", (), True)]
    found = judged(evaluated_models[0], "bundled:tiny", probe, said)
    assert judge_models([probe]) == ["bundled:tiny"]
    assert 0 < found[0] < 1
    assert found[1] == 0.0  # an empty answer
    base, _, moved = evaluated_models
    measured, _ = cards.measure(
        base, moved, reference(base, count=4).fixed(), Battery("pulse", "en", (probe,)), load=lambda _: base
    )
    assert len(measured["raw"]["own-p_tuned"]) == 3
