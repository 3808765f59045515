"""How near an answer in words comes to its reference, by the field's own libraries: BLEU and chrF (sacrebleu, Post
2018), ROUGE-L (rouge-score, Lin 2004). Takes texts, gives numbers from 0 to 1, answer by answer, so that each has an
interval; a mean over answers is not the BLEU of a whole corpus.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from trimtab.behaviour.scoring import units


def text_scores(answer: str, reference: str) -> dict[str, float]:
    """{"bleu", "chrf", "rouge_l"}; Chinese and Japanese by characters."""
    said, wanted = " ".join(units(answer.lower())), " ".join(units(reference.lower()))
    if not said or not wanted:
        return dict.fromkeys(("bleu", "chrf", "rouge_l"), float(said == wanted))
    bleu, chrf, rouge = _scorers()
    return {
        "bleu": bleu.sentence_score(said, [wanted]).score / 100,
        "chrf": chrf.sentence_score(answer, [reference]).score / 100,
        "rouge_l": rouge.score(wanted, said)["rougeL"].fmeasure,
    }


@cache
def _scorers() -> tuple[Any, Any, Any]:
    """Loaded once: they take a second. Words were told apart before, so neither splits them again."""
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU, CHRF

    bleu = BLEU(tokenize="none", effective_order=True)  # as sacrebleu advises for single sentences
    return bleu, CHRF(), RougeScorer(["rougeL"], tokenizer=_Spaces())


class _Spaces:
    def tokenize(self, text: str) -> list[str]:
        return text.split()
