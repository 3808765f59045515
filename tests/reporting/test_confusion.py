"""Which labels are taken for which, drawn."""

import re

from trimtab.reporting.confusion import MATRIX, confusion

LABELLED = [{"number": "label_accuracy"}]


def sample(truth, said):
    return {"probe": "task", "prompt": "", "reference": truth, "base": truth, "tuned": said}


def test_a_matrix_has_a_cell_for_each_pair_and_counts_what_there_is():
    some = [sample("a", "a"), sample("a", "b"), sample("a", "a"), sample("b", "b")]
    svg = confusion(some, LABELLED)
    assert len(re.findall("<rect", svg)) == 4
    assert sorted(re.findall(r'class="label"[^>]*>(\d+)<', svg)) == ["1", "1", "2"]
    assert "a (3)" in svg


def test_many_labels_are_a_list_of_mistakes():
    names = [f"label<{i}" for i in range(MATRIX + 1)]
    some = [sample(n, n) for n in names] + [sample(names[0], names[1])] * 3
    svg = confusion(some, LABELLED)
    assert "label&lt;0 given as label&lt;1" in svg
    assert ">3<" in svg
    assert confusion([sample(n, n) for n in names], LABELLED) == ""


def test_answers_in_words_are_no_labels():
    assert confusion([sample("a", "something else")], LABELLED) == ""
    assert confusion([sample("a", "a")], []) == ""
