"""How far the weights moved: diagnosis only, never a limit. Takes an adapter or two models, gives numbers per matrix.

Relative change ‖ΔW‖_F / ‖W₀‖_F; for LoRA without forming ΔW: ‖sBA‖_F² = s² tr((BᵀB)(AAᵀ)). Intruder dimensions
(2410.21228): of the ten strongest left singular directions of the tuned matrix, those that no base direction matches
(every |cos| < 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from trimtab.behaviour.answering import EvaluatedModel
from trimtab.run.adapters import RoutedLinear

TOP = 10
MATRICES = 6  # that intruders are looked for in: a decomposition each
SIMILAR = 0.5


@torch.no_grad()
def relative_change(base: EvaluatedModel, tuned: EvaluatedModel) -> list[float]:
    """One value a changed matrix, from the first layer to the last."""
    return [float(change) / max(1e-12, float(weight.norm())) for weight, change in _changes(base, tuned, norms=True)]


@torch.no_grad()
def intruders(base: EvaluatedModel, tuned: EvaluatedModel) -> list[float]:
    """Intruder dimensions of up to six changed matrices, evenly chosen."""
    every = [(weight, change) for weight, change in _changes(base, tuned, norms=False)]
    return [float(_count(weight, change)) for weight, change in every[:: max(1, math.ceil(len(every) / MATRICES))]]


def _count(weight: torch.Tensor, change: torch.Tensor) -> int:
    before = torch.linalg.svd(weight, full_matrices=False).U
    after = torch.linalg.svd(weight + change, full_matrices=False).U[:, :TOP]
    return int(((before.T @ after).abs().max(0).values < SIMILAR).sum())


def _changes(base: EvaluatedModel, tuned: EvaluatedModel, norms: bool) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(W₀, ‖ΔW‖ or ΔW) of each matrix that an adapter reaches, or of each that differs between two models."""
    adapter = tuned.adapter
    if adapter is not None:
        linears = {m.name: m.base for m in tuned.base.model.modules() if isinstance(m, RoutedLinear)}
        for name, a in adapter.A.items():
            b, weight = adapter.B[name].float(), linears[name].weight.float()
            norm = adapter.scale * torch.trace((b.T @ b) @ (a.float() @ a.float().T)).clamp(min=0).sqrt()
            yield weight, norm if norms else adapter.scale * (b @ a.float())
        return
    mine = dict(base.base.model.named_modules())
    for name, module in tuned.base.model.named_modules():
        other = mine.get(name)
        if isinstance(module, nn.Linear) and isinstance(other, nn.Linear | RoutedLinear):
            weight = (other.base if isinstance(other, RoutedLinear) else other).weight.float()
            change = module.weight.float() - weight
            yield weight, change.norm() if norms else change
