"""Signs that examples were learned by heart: each training and held-out example under the base and the tuned model.

EZ score of an example (2601.12104): Σ positive d / Σ |negative d| over the tokens that the tuned model still gets wrong
(its first choice is another), d = ln p_tuned − ln p_base. Even where it errs, a model leans to what it has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from trimtab.behaviour.answering import EvaluatedModel, log_probabilities
from trimtab.behaviour.drift import kl
from trimtab.datasets.tokens import Tokens

FLOOR = 1e-3  # nats: keeps the ratio finite where nothing became less likely


@dataclass(frozen=True)
class ItemTrace:
    """By row: EZ score, nats per token that the tuned model gained over the base, KL(base‖tuned) per token."""

    ez: list[float]
    gain: list[float]
    kl: list[float]


def trace(base: EvaluatedModel, tuned: EvaluatedModel, rows: Sequence[Tokens]) -> ItemTrace:
    """One pass of both models over the labels of each row."""
    signs = ItemTrace([], [], [])
    for row, before, after in zip(rows, log_probabilities(base, rows), log_probabilities(tuned, rows), strict=True):
        truth = torch.tensor(_labels(row), device=after.device)
        d = (after.gather(1, truth[:, None]) - before.gather(1, truth[:, None])).squeeze(1)
        signs.ez.append(_ez(d, after.argmax(-1) != truth))
        signs.gain.append(float(d.mean()))
        signs.kl.append(float(kl(before, after).mean()))
    return signs


def _ez(d: torch.Tensor, wrong: torch.Tensor) -> float:
    """Rows without a wrong token count as fully known: all their tokens decide."""
    d = d[wrong] if bool(wrong.any()) else d
    return (float(d.clamp(min=0).sum()) + FLOOR) / (float((-d).clamp(min=0).sum()) + FLOOR)


def _labels(row: Tokens) -> list[int]:
    return [row.ids[i + 1] for i, on in enumerate(islice(row.labelled, 1, None)) if on]
