"""The refusal margin: which way a model leans before it says a word. Takes prompts, gives nats; generates nothing.

m(x) = ln Σ_r p(r|x) − ln Σ_a p(a|x) over beginnings that refuse and beginnings that agree (whole beginnings, not first
tokens: "I" alone begins both). Continuous, so it moves long before answers do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from trimtab.behaviour.answering import EvaluatedModel
from trimtab.behaviour.likelihoods import log_likelihoods
from trimtab.datasets.tokens import prompt_ids
from trimtab.probes.prompts import as_messages, lexicon


def refusal_margin(evaluated: EvaluatedModel, prompts: Sequence[str], language: str) -> list[float]:
    """One number a prompt: above 0 leans to refusing."""
    tokenizer, words = evaluated.base.tokenizer, lexicon(language)
    decline, agree = words["decline"], words["agree"]
    ends = [tokenizer(t, add_special_tokens=False)["input_ids"] for t in (*decline, *agree)]
    asked = [prompt_ids(m, tokenizer) for m in as_messages(prompts)]
    nats = log_likelihoods(evaluated, asked, [ends] * len(asked))
    return [_log_sum(row[: len(decline)]) - _log_sum(row[len(decline) :]) for row in nats]


def _log_sum(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))
