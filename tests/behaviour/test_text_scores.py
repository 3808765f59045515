import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from trimtab.behaviour.text_scores import text_scores
from trimtab.errors import SpecError
from trimtab.spec.recipe import Recipe
from trimtab.spec.yaml_file import check


def test_they_are_the_libraries_own():
    said, wanted = "the cat sat on the mat today", "the cat sat on a mat"
    ours = text_scores(said, wanted)
    assert ours["bleu"] == pytest.approx(sacrebleu.sentence_bleu(said, [wanted]).score / 100)
    assert ours["chrf"] == pytest.approx(sacrebleu.sentence_chrf(said, [wanted]).score / 100)
    assert ours["rouge_l"] == pytest.approx(2 * 5 / (7 + 6))


def test_chinese_is_compared_by_characters():
    ours = text_scores("今天天气很好", "今天天气不错")
    assert ours["rouge_l"] == pytest.approx(4 / 6)
    theirs = sacrebleu.sentence_bleu("今天天气很好", ["今天天气不错"], tokenize="zh")
    assert ours["bleu"] == pytest.approx(theirs.score / 100)


@given(st.text(max_size=40), st.text(max_size=40))
def test_all_lie_between_nothing_and_all(said, wanted):
    assert all(0 <= v <= 1 + 1e-9 for v in text_scores(said, wanted).values())
    same = text_scores(wanted, wanted)
    assert all(v == pytest.approx(1) for v in same.values()) or not wanted.strip()


@pytest.mark.parametrize(
    ("task", "metric", "allowed"),
    [("sft", "accuracy", "exact_match"), ("text-classification", "bleu", "f1"), ("image-classification", "chrf", "f1")],
)
def test_another_tasks_metric_is_refused(task, metric, allowed):
    with pytest.raises(SpecError, match=f"metric_for_best_model.*{allowed}"):
        check(Recipe, {"model": "m", "data": "d", "task": task, "metric_for_best_model": metric}, "here")
