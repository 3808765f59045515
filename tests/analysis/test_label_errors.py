import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trimtab.analysis.label_errors import suspects


def drawn(n, labels, wrong, seed, sharpness=4.0):
    """(labels with some made wrong, probabilities of a model that knows the truth fairly well, places of the wrong)."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, labels, n)
    logits = rng.normal(0, 1, (n, labels))
    logits[np.arange(n), truth] += sharpness
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    places = rng.choice(n, round(wrong * n), replace=False)
    said = truth.copy()
    said[places] = (said[places] + rng.integers(1, labels, len(places))) % labels
    return said.tolist(), p.tolist(), set(places.tolist())


def test_most_wrong_labels_are_found_and_come_first():
    said, p, wrong = drawn(1000, 5, 0.1, 0)
    places = [s.place for s in suspects(said, p)]
    assert len(wrong & set(places)) > 0.7 * len(wrong)
    assert len(wrong & set(places[:70])) > 65


def test_where_nothing_is_wrong_little_is_suspected():
    said, p, _ = drawn(1000, 5, 0.0, 1)
    assert len(suspects(said, p)) < 25


@given(st.integers(2, 5), st.integers(0, 2**20))
def test_a_suspects_other_label_is_the_likelier(labels, seed):
    said, p, _ = drawn(60, labels, 0.2, seed, 1.0)
    found = suspects(said, p)
    assert [f.of_given - f.of_likely for f in found] == sorted(f.of_given - f.of_likely for f in found)
    for f in found:
        assert f.likely != f.given == said[f.place]
        assert p[f.place][f.likely] == f.of_likely > f.of_given == p[f.place][f.given]


def test_a_label_that_is_not_given_is_never_the_likely_one():
    assert suspects([0, 0, 1, 1], [[0.1, 0.1, 0.8]] * 4) == []
