"""Answers: what all prompts begin with is read once, and nothing of what is said changes."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.behaviour import answering
from trimtab.behaviour.answering import answers, padded, parted, read_once
from trimtab.behaviour.likelihoods import log_likelihoods
from trimtab.datasets.tokens import prompt_ids
from trimtab.probes.prompts import as_messages

PLAIN = SimpleNamespace(model=SimpleNamespace(), tokenizer=SimpleNamespace(pad_token_id=0), device="cpu")
PROMPTS = as_messages(["Hello?", "What is the capital of France, and why?", "Say yes.", "Say no."])


@given(st.lists(st.integers(1, 3), max_size=20), st.lists(st.lists(st.integers(1, 3), min_size=1), min_size=1))
def test_a_prompt_is_its_beginning_and_its_rest(same, tails):
    ids = [[*same, *tail] for tail in tails]
    start, rest = parted(ids, PLAIN)
    assert [[*start, *row] for row in rest] == ids
    assert all(rest)
    assert not start or len(start) >= max(answering.SHARED, min(len(same), min(map(len, ids)) - 1))
    read, mask = padded(start, rest, PLAIN)
    assert [
        [t for t, there in zip(*both, strict=True) if there] for both in zip(read.tolist(), mask.tolist(), strict=True)
    ] == ids


def test_one_prompt_or_a_running_state_is_read_whole():
    ids = [[1] * 30 + [2], [1] * 30 + [3]]
    assert len(parted(ids, PLAIN)[0]) == 30
    assert parted(ids[:1], PLAIN)[0] == []
    assert parted(ids, SimpleNamespace(model=SimpleNamespace(_is_stateful=True)))[0] == []


@pytest.fixture
def whole(monkeypatch):
    """How it was before: every prompt from its first token."""
    return lambda: monkeypatch.setattr(answering, "SHARED", 10_000)


def test_nothing_of_what_is_said_changes(evaluated_models, whole):
    base, _, moved = evaluated_models
    ids = [prompt_ids(p, base.base.tokenizer) for p in PROMPTS]
    assert len(parted(ids, base.base)[0]) >= answering.SHARED
    endings = [[[5], [6, 7], [8, 9, 10]]] * len(ids)
    ask = lambda: [(answers(m, PROMPTS, 12), log_likelihoods(m, ids, endings)) for m in (base, moved)]  # noqa: E731
    shared = ask()
    whole()
    for (said, likely), (as_before, likely_before) in zip(shared, ask(), strict=True):
        assert said == as_before
        for row, before in zip(likely, likely_before, strict=True):
            assert row == pytest.approx(before, abs=1e-4)


def test_the_beginning_is_read_by_whom_is_asked(evaluated_models):
    base, _, moved = evaluated_models
    start = prompt_ids(PROMPTS[0], base.base.tokenizer)
    states = [read_once(who, start, 2).layers[-1].keys for who in (base, moved)]
    assert states[0].shape[0] == 2
    assert (states[0] - states[1]).abs().max() > 1e-3
    assert read_once(base, [], 2) is None
