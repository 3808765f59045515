"""The frozen-encoder probe: the best linear classifier on states that no training has touched. Takes a classifier's
base and labelled items, gives a head.

It is what a person has without any tuning, so a tuned model has to beat it; on few or easy examples nothing does. A
sentence encoder's runs begin from it: a head that is drawn at random would first pull the encoder out of shape (Kumar
et al. 2022, Fine-Tuning can Distort Pretrained Features).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trimtab.behaviour.kept import digest_of, remembered
from trimtab.run.adapters import Adapter, Slice
from trimtab.run.oom import in_batches
from trimtab.tasks.classifier_base import ClassifierBase

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # scikit-learn's C, chosen by the validation loss
ROWS = 32


@dataclass(frozen=True)
class Read:
    """`probabilities` [items][labels], `states` [items][width]: what the head reads."""

    probabilities: list[list[float]]
    states: list[list[float]]


@dataclass(frozen=True)
class FrozenProbe:
    """`weight` [labels][width], `bias` [labels]; `strength`: the C that was chosen."""

    weight: list[list[float]]
    bias: list[float]
    strength: float

    def of(self, states: Sequence[Sequence[float]]) -> list[list[float]]:
        """Probabilities [items][labels]."""
        logits = torch.tensor(states, dtype=torch.float64) @ torch.tensor(self.weight, dtype=torch.float64).T
        return (logits + torch.tensor(self.bias, dtype=torch.float64)).softmax(-1).tolist()


@torch.no_grad()
def read(base: ClassifierBase, adapter: Adapter | None, items: Sequence[Any]) -> Read:
    """What a model thinks of these; the batch size changes nothing but the rounding."""
    order = sorted(range(len(items)), key=lambda i: items[i].size)
    probabilities: list[list[float]] = [[] for _ in items]
    states: list[list[float]] = [[] for _ in items]
    training = base.model.training
    base.model.eval()
    for chunk, (p, s) in in_batches(order, ROWS, lambda some: _pass(base, adapter, [items[i] for i in some]), base.say):
        for i, one, state in zip(chunk, p, s, strict=True):
            probabilities[i], states[i] = one, state
    base.train(training)
    return Read(probabilities, states)


def _pass(
    base: ClassifierBase, adapter: Adapter | None, items: Sequence[Any]
) -> tuple[list[list[float]], list[list[float]]]:
    batch = base.learning.collate(base, items)
    slices = [Slice(adapter, batch.rows, batch.length)]
    outputs, states = base.seen(lambda: base.learning.outputs(base, batch, slices), batch)
    return outputs.double().softmax(-1).tolist(), states.tolist()


def probe_of(base: ClassifierBase, train: Sequence[Any], validation: Sequence[Any], keep: Path) -> FrozenProbe:
    """Fitted once for these weights and items, then looked up. The base must be untouched."""
    content = [[i.key, i.label] for i in (*train, *validation)]
    kept = remembered(keep, "frozen-probe", digest_of(base.body), content, lambda: _fitted(base, train, validation))
    return FrozenProbe(kept["weight"], kept["bias"], kept["strength"])


FOLDS = 5


def out_of_sample(states: Sequence[Sequence[float]], labels: Sequence[int]) -> list[list[float]]:
    """What a probe that never saw an example thinks of it, [examples][labels]: fitted on four fifths at a time, with
    the strength that then fits best. A label with fewer than five examples is never certain to be seen."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold

    seen, truth, tried = np.array(states), np.array(labels), []
    every = sorted(set(labels))
    for strength in STRENGTHS:
        p = np.zeros((len(truth), len(every)))
        for fit, rest in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(seen, truth):
            probe = LogisticRegression(C=strength, max_iter=500, tol=1e-3).fit(seen[fit], truth[fit])
            p[np.ix_(rest, np.searchsorted(every, probe.classes_))] = probe.predict_proba(seen[rest])
        tried.append((log_loss(np.searchsorted(every, truth), p, labels=range(len(every))), strength, p))
    return min(tried, key=lambda t: t[:2])[2].tolist()


def _fitted(base: ClassifierBase, train: Sequence[Any], validation: Sequence[Any]) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    base.say(f"Fitting a linear classifier on the frozen states of {len(train)} examples: the baseline")
    seen, held = (np.array(read(base, None, items).states) for items in (train, validation))
    truth, wanted = [i.label for i in train], [i.label for i in validation]
    labels = list(range(len(base.labels)))
    fitted, tried = LogisticRegression(max_iter=500, tol=1e-3, warm_start=True), []
    for strength in STRENGTHS:
        fitted.set_params(C=strength).fit(seen, truth)
        loss = log_loss(wanted, fitted.predict_proba(held), labels=labels)
        tried.append((loss, strength, fitted.coef_.copy(), fitted.intercept_.copy()))
    _, strength, weight, bias = min(tried, key=lambda t: t[:2])
    if len(weight) == 1:  # of two labels scikit-learn keeps the second's alone
        weight, bias = np.vstack([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
    return {"weight": weight.tolist(), "bias": bias.tolist(), "strength": strength}
