"""How sure a classifier should be: the temperature that its logits are divided by. Takes log-probabilities and the
right labels of held-out items, gives a temperature, and log-probabilities at one.

A classifier that goes on learning after its loss has turned is right more often and far too sure (Guo et al. 2017).
Divided by the temperature that fits, its loss tells how well it tells labels apart, and evaluations can be compared by
it: first refine, then calibrate (Berta et al. 2025).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

LEAST, MOST = 0.1, 20.0


def fitted(logs: np.ndarray, truth: Sequence[int]) -> float:
    """`logs` [items, labels], the place of each item's right label -> the temperature with the least mean loss.

    To be made surer (a temperature below 1) takes more than items that are all right: there one label in n + 2 counts
    as wrong, as in Platt (1999)."""
    items, labels = logs.shape
    if items == 0 or labels < 2:
        return 1.0
    found = _least(logs, truth, 0.0)
    return found if found >= 1 else min(1.0, _least(logs, truth, 1 / (items + 2)))


def _least(logs: np.ndarray, truth: Sequence[int], wrong: float) -> float:
    items, labels = logs.shape
    target = np.full((items, labels), wrong / (labels - 1))
    target[np.arange(items), truth] = 1 - wrong
    made = minimize_scalar(
        lambda u: -(target * at(logs, np.exp(u))).sum(),
        bounds=(np.log(LEAST), np.log(MOST)), method="bounded", options={"xatol": 1e-4},
    )  # fmt: skip
    return float(np.exp(made.x))


def at(logs: np.ndarray, temperature: float) -> np.ndarray:
    """Log-probabilities [items, labels] of logits that were divided by it."""
    return log_softmax(logs / temperature, axis=-1)
