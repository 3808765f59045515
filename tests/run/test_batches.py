from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from trimtab.data.tokens import Tokens
from trimtab.run.batches import BatchPlan, pad

plans = st.builds(
    BatchPlan,
    st.lists(st.integers(1, 99), min_size=1, max_size=70).map(tuple),
    st.integers(1, 17),
    st.integers(1, 9),
    st.integers(0, 3),
)


@given(plans)
def test_an_epoch_shows_every_example_once(plan):
    seen = [i for step in range(plan.steps_per_epoch) for i in plan.examples(step)]
    assert sorted(seen) == list(range(len(plan.lengths)))


@given(plans, st.integers(1, 9), st.integers(0, 40))
def test_the_micro_batch_size_never_changes_the_effective_batch(plan, micro, step):
    other = BatchPlan(plan.lengths, plan.effective_batch, micro, plan.seed)
    assert [i for piece in other.micro_batches(step) for i in piece] == plan.examples(step)
    assert max(map(len, other.micro_batches(step))) <= micro


@given(plans)
def test_epochs_and_seeds_differ_but_repeat_exactly(plan):
    again = BatchPlan(plan.lengths, plan.effective_batch, plan.micro_batch, plan.seed)
    steps = range(2 * plan.steps_per_epoch)
    assert [plan.examples(s) for s in steps] == [again.examples(s) for s in steps]
    if len(plan.lengths) > 20 and plan.effective_batch < 5:
        first, second = (
            [i for s in steps[half:][: len(steps) // 2] for i in plan.examples(s)] for half in (0, len(steps) // 2)
        )
        assert first != second
        assert Counter(first) == Counter(second)


def test_padding_and_what_predicts_what():
    batch = pad([Tokens([5, 6, 7], [False, True, True]), Tokens([8, 9], [False, True])], 0, "cpu")
    assert batch.ids.tolist() == [[5, 6, 7], [8, 9, 0]]
    assert batch.mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.places.tolist() == [0, 1, 3]  # flat, over rows of three
    assert batch.labels == (2, 1)
    assert batch.targets.tolist() == [6, 7, 9]
