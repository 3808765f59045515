import json
import math
import random

import pytest

from tests.datasets.test_survey import PLAIN, pair
from trimtab.datasets import similarity
from trimtab.datasets.similarity import difference, profile

OTHER = [
    pair(f"SELECT {i} FROM t{i} WHERE x = {i * 7}", json.dumps({"rows": [i, i + 1], "ok": True})) for i in range(60)
]


def test_the_same_kind_of_data_is_the_same():
    mixed = random.Random(3).sample(PLAIN, len(PLAIN))
    found = difference(profile(mixed[::2]), profile(mixed[1::2]))
    assert found["level"] in ("same", "note")
    assert found["shared"] == 0
    assert found["answer_length"] < 0.3


def test_another_task_is_told_apart_and_trust_falls():
    found = difference(profile(PLAIN), profile(OTHER))
    assert found["level"] == "different task"
    assert found["auc"] > 0.9
    assert found["p"] <= 0.05
    assert "plan anew" in found["trust"]
    assert found["formats"] > 0.9
    assert found["vocabulary"] > 0.3


def test_what_both_have_is_left_out_before_they_are_told_apart():
    found = difference(profile(PLAIN[:60]), profile(PLAIN[:60]))
    assert found["shared"] == 1
    assert found["level"] == "same"


def test_labels_are_compared_where_both_have_them():
    few = [pair(f"text {e.answer}", "ab"[i % 2]) for i, e in enumerate(PLAIN)]
    many = [pair(f"text {e.answer}", "aaab"[i % 4]) for i, e in enumerate(PLAIN)]
    assert 0 < difference(profile(few), profile(many))["labels"] < 0.2
    assert difference(profile(few), profile(PLAIN))["labels"] is None


def test_no_text_can_be_read_back_and_it_is_small():
    found = json.dumps(profile(PLAIN))
    assert "glacier" not in found
    assert len(found) < 60_000


def test_distances_are_the_textbooks():
    p, q = {"a": 3, "b": 1}, {"b": 1, "c": 1}
    middle = {"a": 3 / 8, "b": 3 / 8, "c": 1 / 4}
    bits = sum(
        0.5 * n / sum(side.values()) * math.log2(n / sum(side.values()) / middle[k])
        for side in (p, q)
        for k, n in side.items()
    )
    assert similarity._js(p, q) == pytest.approx(bits)
    assert (similarity._js(p, p), similarity._js(p, {"c": 1})) == (pytest.approx(0), pytest.approx(1))
    assert similarity._js(p, {}) == 0
    assert similarity._ks([1, 2, 3, 4], [3, 4, 5, 6]) == pytest.approx(0.5)
    assert similarity._ks([1, 2], [1, 2]) == 0
