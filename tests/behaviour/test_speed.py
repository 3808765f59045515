"""What an answer costs, on a clock of our own: the same tokens for both, by turns, the first round not counted."""

import pytest
import torch

from trimtab.behaviour import speed

PROMPTS = ["hello", "turn the lamp on, please", "never asked"]


def test_base_and_tuned_take_turns_over_the_same_tokens(evaluated_models, monkeypatch):
    asked = []
    monkeypatch.setattr(speed, "exactly", lambda evaluated, ids, tokens: asked.append((evaluated, tuple(ids), tokens)))
    base, _, moved = evaluated_models
    found = speed.speeds(base, moved, PROMPTS)
    assert {k: len(v) for k, v in found.items()} == dict.fromkeys(
        [f"{k}_{side}" for k in ("first_token_seconds", "token_seconds", "peak_bytes") for side in ("base", "tuned")],
        speed.ROUNDS,
    )
    turns = [e for e, _, _ in asked]
    each = speed.PROMPTS * 2  # one token, and all of them
    assert turns == ([base] * each + [moved] * each) * (speed.ROUNDS + 1)
    mine, theirs = ([(ids, n) for e, ids, n in asked if e is who] for who in (base, moved))
    assert mine == theirs
    assert len({ids for ids, _ in mine}) == speed.PROMPTS


def test_seconds_per_token_are_those_after_the_first(evaluated_models, monkeypatch):
    """0.5 s for a prompt and 0.1 s a token: 0.6 s to the first, 0.1 s for each further one."""
    monkeypatch.setattr(speed, "_timed", lambda _evaluated, _row, tokens: 0.5 + 0.1 * tokens)
    found = speed.speeds(*evaluated_models[:2], PROMPTS)
    assert found["first_token_seconds_base"] == pytest.approx([0.6] * speed.ROUNDS)
    assert found["token_seconds_tuned"] == pytest.approx([0.1] * speed.ROUNDS)


def test_a_clock_that_stumbles_gives_no_negative_time(evaluated_models, monkeypatch):
    monkeypatch.setattr(speed, "_timed", lambda _evaluated, _row, tokens: 1.0 / tokens)
    assert set(speed.speeds(*evaluated_models[:2], PROMPTS)["token_seconds_base"]) == {0.0}


def test_every_model_writes_exactly_as_many_tokens(evaluated_models, monkeypatch):
    """Its end token is held back: what ends at once would look quick."""
    base = evaluated_models[0]
    made = []
    generate = base.base.model.generate
    monkeypatch.setattr(base.base.model, "generate", lambda **how: made.append(generate(**how)) or made[-1])
    monkeypatch.setattr(base.base.model.generation_config, "eos_token_id", list(range(0, 200)))
    speed._timed(base, [5, 6, 7], 6)
    assert made[0].shape == torch.Size([1, 9])
