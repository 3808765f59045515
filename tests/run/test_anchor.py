"""Replay and the pull towards the base: real training on the tiny model, and what must hold of them whatever they
train."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.run.test_loop import Hooks, fresh
from tests.weights import same_weights
from trimtab.behaviour.answering import EvaluatedModel
from trimtab.behaviour.drift import kl
from trimtab.behaviour.own_answers import own_answers
from trimtab.run.adapters import Slice
from trimtab.run.anchor import ROWS, Anchor, replayed
from trimtab.run.cohort import Cohort
from trimtab.run.loop import train
from trimtab.spec.recipe import Recipe
from trimtab.tasks.language import KEPT, LanguageModelling

HELD = {"kl_weight": 5.0, "replay_share": 0.25}


@pytest.fixture(scope="module")
def own(tiny_tokenizer):
    return own_answers(fresh(tiny_tokenizer), "en", 64)


def drift(base, member, items):
    """Mean KL(base‖member) of the items, over the whole vocabulary."""
    member.adapter.training, two = False, (None, member.adapter)
    far = []
    with torch.no_grad():
        for item in items:
            batch = base.pad([item])
            one, other = (base.logits(batch, [Slice(a, 1, batch.length)]).log_softmax(-1) for a in two)
            far.append(float(kl(one, other).mean()))
    return sum(far) / len(far)


def test_a_pull_keeps_a_run_nearer(tiny_tokenizer, small_data, recipe, own, tmp_path):
    far = {}
    for weight in (0.0, 100.0):  # the tiny model spreads its odds over 49,152 tokens, of which 256 are kept
        base, r = fresh(tiny_tokenizer), recipe.but(kl_weight=weight, learning_rate=1e-2, max_steps=16)
        cohort = Cohort(base, [r], small_data, own=own)
        train(cohort, tmp_path / str(weight), "c", Hooks())
        far[weight] = drift(base, cohort.members[0], own[:12])
    assert far[100.0] < 0.6 * far[0.0]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_held_run_goes_on_bit_for_bit(tiny_tokenizer, small_data, recipe, own, tmp_path, method):
    r = recipe.but(**HELD, method=method, gradient_accumulation_steps=2, max_steps=6)
    whole, broken, seen = tmp_path / "whole", tmp_path / "broken", Hooks()
    train(Cohort(fresh(tiny_tokenizer), [r], small_data, own=own), whole, "c", seen, save_every=0)
    with pytest.raises(KeyboardInterrupt):
        train(Cohort(fresh(tiny_tokenizer), [r], small_data, own=own), broken, "c", Hooks(die_at=4), save_every=0)
    after = Hooks()
    train(Cohort(fresh(tiny_tokenizer), [r], small_data, own=own), broken, "c", after, save_every=0)
    assert after.steps == seen.steps[-len(after.steps) :]
    assert after.evaluations[-1] == seen.evaluations[-1]


def test_a_neighbour_changes_nothing(tiny_tokenizer, small_data, recipe, own, tmp_path):
    held = recipe.but(**HELD, max_steps=4)
    pair = [held, recipe.but(seed=2, lora_dropout=0.2, kl_weight=1.0, max_steps=4)]
    for name, some in (("pair", pair), ("alone", [held])):
        cohort = Cohort(fresh(tiny_tokenizer), some, small_data, "certify", own=own)
        train(cohort, tmp_path / name, "c", Hooks())
    assert same_weights(*(tmp_path / n / "runs" / held.run_id / "last" for n in ("pair", "alone")))


def test_together_is_near_alone(tiny_tokenizer, small_data, recipe, own):
    pair = [recipe.but(kl_weight=3.0), recipe.but(kl_weight=1.0, seed=2, r=2)]
    cohorts = [Cohort(fresh(tiny_tokenizer), some, small_data, own=own) for some in (pair, pair[:1], pair[1:])]
    for cohort in cohorts:
        for m in cohort.members:
            m.adapter.B["model.layers.0.mlp.up_proj"].data.fill_(0.01)
        cohort.forward_backward(cohort.members)
    together = [m.optimizer.flats[0].grad for m in cohorts[0].members]
    for one, other in zip(together, (c.members[0].optimizer.flats[0].grad for c in cohorts[1:]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


@given(st.integers(1, 400), st.sampled_from([0.1, 0.25, 0.5, 0.9]))
def test_a_share_of_the_rows_is_replayed(examples, share):
    r, items = Recipe(model="m", data="d", replay_share=share), list(range(7))
    rows = replayed(items, r, examples)
    assert abs(len(rows) - share * (examples + len(rows))) <= 1
    assert max(map(rows.count, items)) - min(map(rows.count, items)) <= 1
    batch = r.effective_batch
    assert r.steps(examples) == math.ceil((examples + len(rows)) / batch)


def test_every_item_pulls_once_before_any_comes_again(tiny_base, own):
    anchor = Anchor(tiny_base, own[:12])
    steps = [anchor._chosen(3, step) for step in range(6)]
    for turn in (steps[:3], steps[3:]):
        assert sorted(i for rows in turn for i in rows) == list(range(3 * ROWS))
    assert steps[:3] != steps[3:]


@given(st.integers(0, 2**16), st.floats(0.1, 5.0))
def test_the_kept_distance_is_never_above_the_whole_one(seed, size):
    draw = torch.Generator().manual_seed(seed)
    base, tuned = (torch.randn(3, 2 * KEPT, generator=draw) * size for _ in range(2))
    learning = LanguageModelling()
    part = learning.distance(tuned, learning.remember(base))
    assert (part <= kl(base.log_softmax(-1), tuned.log_softmax(-1)) + 1e-4).all()
    assert (learning.distance(base, learning.remember(base)) < 1e-5).all()
    small = [x[:, :100] for x in (base, tuned)]  # of a vocabulary that is kept whole nothing is lost
    exact = kl(small[0].log_softmax(-1), small[1].log_softmax(-1))
    torch.testing.assert_close(learning.distance(small[1], learning.remember(small[0])), exact, rtol=1e-3, atol=1e-4)


def test_own_answers_are_the_base_s(tiny_tokenizer, own):
    from trimtab.behaviour.answering import answers
    from trimtab.probes.prompts import as_messages, remedy_prompts

    base = fresh(tiny_tokenizer)
    (said,) = answers(EvaluatedModel(base), as_messages(remedy_prompts("learn")[:1]), 40)
    learned = [t for t, on in zip(own[0].ids, own[0].labelled, strict=True) if on]
    assert learned == [*said.tokens][: len(learned)]
