import random

from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.datasets.duplicates import near_duplicates

WORDS = [
    f"{a}{b}" for a in ("lamp", "door", "sofa", "rain", "stone", "cloud") for b in ("er", "ing", "ly", "ish", "ness")
]


def sentence(rng, n=60):
    return " ".join(rng.choice(WORDS) + str(rng.randrange(1000)) for _ in range(n))


def test_a_changed_word_is_a_near_copy_and_another_text_is_not():
    rng = random.Random(1)
    texts = [sentence(rng) for _ in range(400)]
    copies = [" ".join(["changed", *t.split()[1:]]) for t in texts[:100]]
    found = near_duplicates(texts + copies)
    pairs = [c for c in found if len(c) > 1]
    assert len(pairs) >= 99
    assert all(c == [c[0], c[0] + 400] for c in pairs)


def test_capitals_and_punctuation_do_not_count():
    assert near_duplicates(["Turn on the light!", "turn on the light", "close the door"]) == [[0, 1], [2]]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(max_size=30), max_size=25))
def test_clusters_are_a_partition(texts):
    found = near_duplicates(texts)
    assert sorted(i for c in found for i in c) == list(range(len(texts)))


def test_progress_ends_at_the_end():
    told = []
    near_duplicates([f"text number {i}" for i in range(10)], progress=lambda *args: told.append(args))
    assert told[-1] == ("Looking for copies", 10, 10)
