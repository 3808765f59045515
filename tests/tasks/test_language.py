from trimtab.datasets.tokens import Tokens
from trimtab.tasks.language import pad


def test_padding_and_what_predicts_what():
    batch = pad([Tokens([5, 6, 7], [False, True, True]), Tokens([8, 9], [False, True])], 0, "cpu")
    assert batch.ids.tolist() == [[5, 6, 7], [8, 9, 0]]
    assert batch.mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.places.tolist() == [0, 1, 3]  # flat, over rows of three
    assert batch.weights == (2, 1)
    assert batch.targets.tolist() == [6, 7, 9]
