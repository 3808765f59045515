"""A local model as a judge, where a person's probe asks for one. Takes its evaluated and answers, gives its
probability of yes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trimtab.behaviour.answering import Answer, EvaluatedModel
from trimtab.behaviour.likelihoods import log_likelihoods
from trimtab.datasets.tokens import prompt_ids
from trimtab.probes.prompts import as_messages
from trimtab.spec.probe import Judge, Probe

_ASK = "{question}\n\nQuestion: {prompt}\nAnswer: {answer}\n\nReply with yes or no only."
_SAYS = ("yes", "Yes", "no", "No")


def judged_items(probe: Probe) -> list[int]:
    return [i for i, item in enumerate(probe.items) if isinstance(probe.scorer_of(item), Judge)]


def judge_models(probes: Sequence[Probe]) -> list[str]:
    """Every judge that is asked for, once."""
    scorers = [probe.scorer_of(probe.items[i]) for probe in probes for i in judged_items(probe)]
    return list(dict.fromkeys(s.model for s in scorers if isinstance(s, Judge)))


def judged(judge: EvaluatedModel, model: str, probe: Probe, said: Sequence[Answer]) -> list[float]:
    """Of the items that ask for `model`, in order; an empty answer is never a yes."""
    asked, empty = [], []
    for i in judged_items(probe):
        item, scorer = probe.items[i], probe.scorer_of(probe.items[i])
        if isinstance(scorer, Judge) and scorer.model == model:
            text = {"question": scorer.question, "prompt": item.asked[-1]["content"], "answer": said[i].text}
            asked.append(_ASK.format(**text))
            empty.append(not said[i].text.strip())
    tokenizer = judge.base.tokenizer
    ends = [tokenizer(s, add_special_tokens=False)["input_ids"] for s in _SAYS]
    rows = log_likelihoods(judge, [prompt_ids(m, tokenizer) for m in as_messages(asked)], [ends] * len(asked))
    return [0.0 if nothing else _yes(row) for row, nothing in zip(rows, empty, strict=True)]


def _yes(nats: Sequence[float]) -> float:
    powers = [math.exp(n - max(nats)) for n in nats]
    return sum(powers[:2]) / sum(powers)
