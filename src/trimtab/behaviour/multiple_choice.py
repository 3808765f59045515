"""Multiple-choice facts without generating: how likely a model finds each option. Takes questions, gives
probabilities.

The options are not shown: each is scored as the model's own brief answer. Small models read lists of options badly
(SmolLM2-135M, 120 facts: letters 22 % right, options in the prompt 28-36 %, not shown 58 %), and no order of options
can favour a place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from trimtab.behaviour.answering import EvaluatedModel
from trimtab.behaviour.likelihoods import log_likelihoods
from trimtab.datasets.tokens import prompt_ids
from trimtab.probes.prompts import Fact, as_messages, briefly


def option_probabilities(
    evaluated: EvaluatedModel, questions: Sequence[str], facts: Sequence[Fact], language: str
) -> list[list[float]]:
    """[items][options], the right one first, each row summing to 1; `questions[i]` asks for `facts[i]`, in whatever
    words."""
    tokenizer = evaluated.base.tokenizer
    asked = [prompt_ids(m, tokenizer) for m in as_messages([briefly(q, language) for q in questions])]
    said = [[tokenizer(o, add_special_tokens=False)["input_ids"] for o in f.options] for f in facts]
    return [_softmax(row) for row in log_likelihoods(evaluated, asked, said)]


def _softmax(values: Sequence[float]) -> list[float]:
    top = max(values)
    powers = [math.exp(v - top) for v in values]
    return [p / sum(powers) for p in powers]
