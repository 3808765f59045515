"""How much of an update each example's gradient is. Told each micro-batch's examples and gradients, gives the step's
numbers. Changes nothing.

Free with gradient accumulation: gradients add up in flat memory anyway, and differences of some of their coordinates
tell the micro-batches apart. With micro-batches of one these are single examples. Formulas: gradient noise scale
(McCandlish 2018); consensus = mean pairwise cosine, weighted by energy; share w_k = <g_k, g>/|g|², summing to 1;
effective number = 1/Σ(w⁺ normalised)². The same with Adam's preconditioner: what dominates a gradient need not
dominate an update.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch

from trimtab.run.optim import Optimizer

COORDINATES, BLOCK = 2**18, 1024  # of the gradient, in blocks spread over all matrices
RATIO_EVERY = 10  # steps between two looks at how far an update moves the weights


class GradientShares:
    """Of one member: told each micro-batch, asked before and after each update."""

    def __init__(self, optimizer: Optimizer, parameters: Sequence[torch.nn.Parameter], known_below: float):
        """`known_below`: a unit with less loss counts as known."""
        self.known_below = known_below
        self.optimizer, self.flat = optimizer, optimizer.flats[0]
        self._places: torch.Tensor | None = None  # made when the first gradient is there
        self.groups = _thirds([p for p in parameters if p.dim() >= 2] or list(parameters))
        self.examples: list[dict[str, Any]] = []
        self._seen: list[torch.Tensor] = []  # the gradient so far, after each micro-batch
        self._sizes: list[tuple[int, int]] = []  # examples and weight of each
        self._before: torch.Tensor | None = None
        self.alone: dict[str, Any] = {}  # of the coming update, taken example by example

    def record(self, ids: Sequence[int], rows: Sequence[torch.Tensor]) -> None:
        """After a backward: whose rows they were and each row's losses, unit by unit."""
        for i, row in zip(ids, rows, strict=True):
            known = bool((row < self.known_below).all()) if len(row) else False
            self.examples.append(
                {"id": i, "weight": len(row), "loss": float(row.mean()) if len(row) else 0.0, "known": known}
            )
        self._sizes.append((len(ids), sum(map(len, rows))))
        if self._places is None:
            self._places = _spread(self.flat.vector.numel()).to(self.flat.vector.device)
        self._seen.append(self.flat.grad[self._places])

    def forget(self) -> None:
        """The step begins again, or ends."""
        self.examples, self._seen, self._sizes, self.alone = [], [], [], {}

    def update(self, passes: int) -> dict[str, Any]:
        """Before the optimizer's step: the numbers of a whole step. A step that another process began has no
        gradients to tell apart."""
        shares: dict[str, Any] = {"examples": self.examples}
        if 1 < len(self._seen) == passes:
            total = torch.stack(self._seen).double()
            steps = total.diff(dim=0, prepend=torch.zeros_like(total[:1]))
            shares |= agreement(steps, [n for n, _ in self._sizes], [weight for _, weight in self._sizes])
            if (scale := self._preconditioner()) is not None:
                shares["shares_adam"] = _shares(steps * scale)
        shares["sizes"] = [n for n, _ in self._sizes]
        shares |= self.alone
        self.forget()
        return shares

    def weigh(self, step: int) -> None:
        """Before every tenth update: remember where the weights were."""
        self._before = self.flat.vector.data.clone() if step % RATIO_EVERY == 0 else None

    def moved(self) -> list[float] | None:
        """After it: ‖Δθ‖/‖θ‖ of the first, middle and last third of the layers."""
        if self._before is None:
            return None
        before, self._before = self._before, None
        change = self.flat.vector.data - before
        return [float(change[a:b].norm() / before[a:b].norm().clamp(min=1e-12)) for a, b in self.groups]

    def _preconditioner(self) -> torch.Tensor | None:
        state = self.optimizer.inner.state.get(self.flat.vector, {})
        if "exp_avg_sq" not in state or not float(state["step"]):
            return None
        recipe = self.optimizer.recipe
        v = state["exp_avg_sq"][self._places] / (1 - recipe.adam_beta2 ** float(state["step"]))
        return 1 / (v.double().sqrt() + recipe.adam_epsilon)


def agreement(steps: torch.Tensor, sizes: Sequence[int], weights: Sequence[int]) -> dict[str, Any]:
    """`steps` [micro-batches, coordinates] add up to the update's gradient; `sizes` examples and `weights` units in
    each."""
    whole = float(steps.sum(0).square().sum())
    share = torch.tensor(weights, dtype=steps.dtype, device=steps.device) / sum(weights)
    means = steps / share[:, None].clamp(min=1e-12)  # each micro-batch's own mean gradient
    alone = float(means.square().sum(1).mean())
    k, small, large = len(sizes), sum(sizes) / len(sizes), float(sum(sizes))
    return {
        "consensus": (k * whole / alone - 1) / (k - 1) if alone else 0.0,
        "signal": (large * whole - small * alone) / (large - small),  # unbiased |G|²
        "noise": (alone - whole) / (1 / small - 1 / large),  # unbiased tr Σ
        "shares": _shares(steps),
    }


def _shares(steps: torch.Tensor) -> list[float]:
    whole = steps.sum(0)
    return (steps @ whole / whole.square().sum().clamp(min=1e-300)).tolist()


def _spread(size: int) -> torch.Tensor:
    if size <= COORDINATES:
        return torch.arange(size)
    starts = torch.linspace(0, size - BLOCK, COORDINATES // BLOCK).long()
    return (starts[:, None] + torch.arange(BLOCK)).flatten()


def _thirds(parameters: Sequence[torch.nn.Parameter]) -> list[tuple[int, int]]:
    """Where the first, middle and last third of the tensors lie in the flat vector."""
    ends = [0]
    for p in parameters:
        ends.append(ends[-1] + p.numel())
    cuts = [ends[round(i * len(parameters) / 3)] for i in range(4)]
    return [(a, b) for a, b in pairwise(cuts) if b > a]
