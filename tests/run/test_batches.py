from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from trimtab.run.batches import BatchPlan

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
    assert sorted(seen) == list(range(len(plan.sizes)))


@given(plans, st.integers(1, 9), st.integers(0, 40))
def test_the_micro_batch_size_never_changes_the_effective_batch(plan, micro, step):
    other = BatchPlan(plan.sizes, plan.effective_batch, micro, plan.seed)
    assert [i for piece in other.micro_batches(step) for i in piece] == plan.examples(step)
    assert max(map(len, other.micro_batches(step))) <= micro


@given(plans)
def test_epochs_and_seeds_differ_but_repeat_exactly(plan):
    again = BatchPlan(plan.sizes, plan.effective_batch, plan.micro_batch, plan.seed)
    steps = range(2 * plan.steps_per_epoch)
    assert [plan.examples(s) for s in steps] == [again.examples(s) for s in steps]
    if len(plan.sizes) > 20 and plan.effective_batch < 5:
        first, second = (
            [i for s in steps[half:][: len(steps) // 2] for i in plan.examples(s)] for half in (0, len(steps) // 2)
        )
        assert first != second
        assert Counter(first) == Counter(second)
