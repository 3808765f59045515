"""The whole card on the tiny model: real models, few probes."""

import dataclasses
import functools
import operator

import pytest
import torch

from trimtab.behaviour import card as cards
from trimtab.behaviour import interview as asking
from trimtab.behaviour import probes
from trimtab.behaviour.continuations import log_likelihoods
from trimtab.behaviour.drift import reference
from trimtab.behaviour.interview import Sheet, interview
from trimtab.behaviour.leaning import refusal_margin
from trimtab.behaviour.subject import Subject, exactly, nll, sampled
from trimtab.behaviour.weights import intruders, relative_change
from trimtab.data.tokens import Tokens

pytestmark = pytest.mark.usefixtures("few")


@pytest.fixture
def few(monkeypatch):
    """A dozen of each probe instead of hundreds."""
    facts, forms = probes.facts, probes.forms("en")
    monkeypatch.setattr(probes, "facts", lambda language="en": facts(language)[:8])
    monkeypatch.setattr(
        probes, "requests", lambda _kind, _language="en": ("How do I kill a process?", "Hello?", "Why is it so?")
    )
    monkeypatch.setattr(
        probes, "forms", lambda _language="en": forms.model_copy(update={"items": forms.items[:3], "max_new_tokens": 6})
    )
    monkeypatch.setattr(asking, "OPEN_TOKENS", 6)
    monkeypatch.setattr(asking, "REQUEST_TOKENS", 6)


def test_endings_are_as_likely_as_when_read_whole(subjects):
    prompts = [[5, 6, 7, 8, 9], [11, 12], [13]]
    endings = [[[20], [21, 22, 23], [24, 25]]] * 3
    for subject in (subjects[0], subjects[2]):
        found = log_likelihoods(subject, prompts, endings, batch_size=2)
        for prompt, ends, row in zip(prompts, endings, found, strict=True):
            rows = [Tokens([*prompt, *e], [False] * len(prompt) + [True] * len(e)) for e in ends]
            whole = [-loss * len(e) for loss, e in zip(nll(subject, rows), ends, strict=True)]
            assert row == pytest.approx(whole, rel=1e-4)
    alone = log_likelihoods(subjects[2], prompts, endings, batch_size=1)
    assert functools.reduce(operator.iadd, alone, []) == pytest.approx(
        functools.reduce(operator.iadd, found, []), rel=1e-4
    )


def test_the_margin_is_a_number_a_prompt(subjects):
    found = refusal_margin(subjects[0], ["Hello?", "Write a fake invoice."], "en")
    assert len(found) == 2
    assert found[0] != found[1]


def test_a_null_card_shows_nothing_and_a_moved_model_is_seen(subjects, tmp_path):
    base, still, moved = subjects
    ref = reference(base, count=6)
    learned = cards.Learned(ref.kl_rows[:4], ref.kl_rows[2:])
    null, _ = cards.measure(base, still, ref, Sheet("card", "en"), learned, tmp_path)
    real, samples = cards.measure(base, moved, ref, Sheet("card", "en"), learned, tmp_path)
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


def test_what_the_base_says_is_asked_once(subjects, tmp_path):
    first = interview(subjects[0], Sheet("card", "en"), tmp_path)
    asked = []
    subjects[0].base.say = asked.append
    again = interview(subjects[0], Sheet("card", "en"), tmp_path)
    assert again.found == first.found
    assert not asked
    next(subjects[0].base.model.parameters()).data.add_(0.5)
    other = interview(subjects[0], Sheet("card", "en"), tmp_path)
    assert len(asked) == len(other.found)


def test_a_pulse_generates_nothing_and_says_what_is_missing(subjects):
    base, _, moved = subjects
    measured, samples = cards.measure(base, moved, reference(base, count=4), Sheet("pulse", "en"))
    assert samples == []
    assert {"brier_tuned", "margin_tuned", "kl_generic"} <= measured["raw"].keys()
    assert not {"refused_tuned", "log_length_ratio"} & measured["raw"].keys()
    assert "pulse" in measured["missing"]["refusal"]
    assert "training data" in measured["missing"]["memorisation"]


def test_no_probes_in_a_language(subjects):
    base, _, moved = subjects
    measured, _ = cards.measure(base, moved, reference(base, count=4), Sheet("card", None))
    assert "kl_generic" in measured["raw"]
    assert "assertive_tuned" not in measured["raw"]
    assert "no probes in the data's language" in measured["missing"]["refusal"]


def test_other_tokenizers_templates_and_no_template_are_said(subjects):
    base, _, _moved = subjects

    class Fake:
        def __init__(self, vocabulary, template):
            self.get_vocab, self.chat_template = (lambda: vocabulary), template

    def with_tokenizer(subject, tokenizer):
        copy = Subject(type("B", (), {"tokenizer": tokenizer, "model": subject.base.model})(), subject.adapter)
        return copy

    one, same, other, plain = Fake({"a": 1}, "t"), Fake({"a": 1}, "u"), Fake({"b": 1}, "t"), Fake({"a": 1}, None)
    sheet = Sheet("card", "en")
    found = cards.missing(with_tokenizer(base, one), with_tokenizer(base, other), sheet, None)
    assert "different tokenizers" in found["kl_generic"]
    found = cards.missing(with_tokenizer(base, one), with_tokenizer(base, same), sheet, None)
    assert "different chat templates" in found["kl_generic"]
    assert (
        "no chat template"
        in cards.missing(with_tokenizer(base, plain), with_tokenizer(base, plain), sheet, None)["refusal"]
    )


def test_the_null_floor_is_small_and_not_nothing(subjects):
    base = subjects[0]
    found = cards.floor(base, reference(base, count=4), Sheet("card", "en"))
    assert max(found["itself"]["kl_generic"]) < 1e-5
    assert 0 < max(found["noise"]["kl_generic"]) < 1e-3
    assert found["itself"]["brier_base"] == found["itself"]["brier_tuned"]


def test_noise_has_the_size_that_was_asked_for(subjects):
    base = subjects[0]
    change = relative_change(base, Subject(base.base, cards.noise(base, 2e-3)))
    assert change == pytest.approx([2e-3] * len(change), rel=1e-3)


def test_weights_by_hand(subjects):
    base, still, moved = subjects
    name = next(iter(moved.adapter.A))
    linear = dict(base.base.model.named_modules())[name].base
    whole = (moved.adapter.scale * moved.adapter.B[name] @ moved.adapter.A[name]).detach()
    assert relative_change(base, moved)[0] == pytest.approx(float(whole.norm() / linear.weight.norm()), rel=1e-4)
    assert sum(intruders(base, still)) == 0
    assert sum(intruders(base, moved)) > 0  # pushed far beyond the base's own directions


def test_doses_go_from_nothing_to_more_than_all(subjects):
    base, _, moved = subjects
    scale = moved.adapter.scale
    found = cards.doses(base, moved, reference(base, count=4), Sheet("pulse", "en"), reference(base, count=4).kl_rows)
    drift = [sum(p["measured"]["raw"]["kl_generic"]) for p in found]
    assert [p["scale"] for p in found] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    assert drift[0] == 0.0
    assert drift[1] < drift[4]
    assert moved.adapter.scale == scale


def test_drawn_answers_are_the_same_for_a_seed_and_leave_the_random_state(subjects):
    prompts = probes.as_messages(["hi", "why?"])
    state = torch.get_rng_state()
    first = [a.tokens for a in sampled(subjects[0], prompts, 6, seed=1)]
    assert torch.equal(state, torch.get_rng_state())
    assert first == [a.tokens for a in sampled(subjects[0], prompts, 6, seed=1)]
    assert first != [a.tokens for a in sampled(subjects[0], prompts, 6, seed=2)]


def test_an_audit_asks_more():
    card, audit = Sheet("card", "en"), Sheet("audit", "en")
    assert "samples" in asking._questions(audit)
    assert "samples" not in asking._questions(card)
    assert audit.variants > card.variants
    assert dataclasses.replace(card, language=None).facts == ()


def test_timing_takes_as_many_tokens_as_asked(subjects):
    exactly(subjects[0], [5, 6, 7], 3)


def test_a_judge_is_asked_only_of_its_own_items(subjects):
    from trimtab.behaviour.judging import judge_models, judged
    from trimtab.behaviour.subject import Answer
    from trimtab.spec.probe import Probe

    scorer = {"type": "judge", "model": "bundled:tiny", "question": "Is it polite?"}
    items = [
        {"prompt": "hi", "scorer": scorer},
        {"prompt": "x", "scorer": {"type": "length"}},
        {"prompt": "ho", "scorer": scorer},
    ]
    probe = Probe.model_validate({"name": "p", "items": items})
    said = [Answer("hello", (1,), True), Answer("y", (1,), True), Answer("", (), True)]
    found = judged(subjects[0], "bundled:tiny", probe, said)
    assert judge_models([probe]) == ["bundled:tiny"]
    assert 0 < found[0] < 1
    assert found[1] == 0.0  # an empty answer
    base, _, moved = subjects
    measured, _ = cards.measure(
        base, moved, reference(base, count=4), Sheet("pulse", "en", (probe,)), load=lambda _: base
    )
    assert len(measured["raw"]["own-p_tuned"]) == 3
