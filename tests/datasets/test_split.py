import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.datasets.duplicates import near_duplicates
from trimtab.datasets.formats import Example
from trimtab.datasets.split import split


def example(text):
    return Example(({"role": "user", "content": text}, {"role": "assistant", "content": "ok"}))


words = st.lists(
    st.sampled_from(["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]),
    min_size=4,
    max_size=9,
)


@given(st.lists(words, min_size=24, max_size=60), st.integers(0, 5))
def test_nothing_is_lost_and_copies_stay_together(texts, seed):
    examples = [example(" ".join(w)) for w in texts]
    cut = split(examples, seed)
    assert sorted(cut.train + cut.validation + cut.test) == list(range(len(examples)))
    side = {i: s for s in ("train", "validation", "test") for i in getattr(cut, s)}
    for group in near_duplicates([e.text for e in examples]):
        assert len({side[i] for i in group}) == 1
    assert cut == split(examples, seed)


def test_near_copies_are_found():
    long = "please turn the light in the living room on and then close the blinds on the window to the street"
    texts = [
        long,
        long.upper() + "!",
        long.replace("street", "garden"),
        "what is the weather like in Oslo tomorrow morning",
    ]
    groups = near_duplicates(texts)
    assert [0, 1, 2] in groups
    assert [3] in groups


def test_examples_that_are_all_alike_leave_nothing_to_validate_on(tmp_path):
    from trimtab.datasets.prepare import load
    from trimtab.errors import DataError

    path = tmp_path / "same.csv"
    path.write_text("prompt,completion\n" + "what is it,a lamp\n" * 60)
    with pytest.raises(DataError, match="60 examples that are all near-copies"):
        load(str(path))
