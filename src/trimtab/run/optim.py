"""Learning-rate schedule and optimizer over flat memory. Takes a recipe and parameters, gives one vector to clip,
check and step.

A member's parameters and gradients are views of one buffer each: the step is one kernel instead of hundreds, the
gradient norm is one reduction, and saving is three tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from trimtab.spec.recipe import Recipe
from trimtab.tasks.task import Group

DECAY = 0.2  # of all steps, at the end of warmup_stable_decay: linear to zero (MiniCPM, Hu et al. 2024: 10 to 20 %)


def learning_rate(recipe: Recipe, step: int, total: int) -> float:
    """Rate of step `step` (0-based) of `total`: linear warm-up, then the schedule down to zero (constant stays)."""
    warm = recipe.warmup_steps
    warmup = int(warm) if warm >= 1 else math.ceil(warm * total)
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    if recipe.lr_scheduler_type == "warmup_stable_decay":
        return recipe.learning_rate * min(1.0, (total - step) / max(1, round(DECAY * total)))
    shape = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    return recipe.learning_rate * shape[recipe.lr_scheduler_type]


MOMENTS = {
    "sgd": ("momentum_buffer",), "adam": ("exp_avg", "exp_avg_sq"), "adamw_torch": ("exp_avg", "exp_avg_sq"),
}  # fmt: skip


class Flat:
    """float32 tensors moved into one vector; the tensors stay usable as views of it. `rates`: a factor of the rate
    for each; `start`: the share of the run at which they begin to learn."""

    def __init__(self, tensors: Sequence[nn.Parameter], rates: Sequence[float] = (), start: float = 0.0):
        self.start = start
        self.rates = [(t.numel(), r) for t, r in zip(tensors, rates, strict=True)] if rates else []
        first = tensors[0]
        self.vector = nn.Parameter(torch.empty(sum(t.numel() for t in tensors), device=first.device, dtype=first.dtype))
        self.vector.grad = torch.zeros_like(self.vector)
        offset = 0
        for tensor in tensors:
            place = slice(offset, offset + tensor.numel())
            self.vector.data[place].copy_(tensor.data.reshape(-1))
            tensor.data = self.vector.data[place].view_as(tensor)
            tensor.grad = self.vector.grad[place].view_as(tensor)
            offset += tensor.numel()

    def slow_down(self, before: torch.Tensor) -> None:
        """Each tensor goes its factor of the way that a step went from `before`: a rate of its own, as every step here
        is proportional to the rate, decay included."""
        offset = 0
        for size, factor in self.rates:
            place = slice(offset, offset + size)
            now = self.vector.data[place]
            now.copy_(before[place] + factor * (now - before[place]))
            offset += size

    @property
    def grad(self) -> torch.Tensor:
        assert self.vector.grad is not None
        return self.vector.grad


class Optimizer:
    """AdamW, Adam or SGD over matrices (decayed) and, apart, norms and biases (not decayed, as is customary)."""

    def __init__(self, recipe: Recipe, groups: Sequence[Group], total_steps: int):
        self.recipe, self.total_steps = recipe, total_steps
        self.flats: list[Flat] = []
        options: list[dict[str, object]] = []
        for group in groups:
            rates = dict(zip(map(id, group.parameters), group.rates, strict=bool(group.rates)))
            for start, together in _by_start(group):
                for decay, some in _by_decay(recipe.weight_decay, together):
                    self.flats.append(Flat(some, [rates[id(p)] for p in some] if rates else (), start))
                    options.append({"params": [self.flats[-1].vector], "weight_decay": decay})
        self.inner = _build(recipe, options)

    def prepare(self) -> None:
        """Make the moments now: whether they fit must show before the first step, not in it."""
        sgd, names = self.recipe.optim == "sgd", MOMENTS[self.recipe.optim]
        for flat in self.flats if not sgd or self.recipe.momentum else ():
            if not self.inner.state.get(flat.vector):
                self.inner.state[flat.vector] = {
                    **({} if sgd else {"step": torch.tensor(0.0)}),
                    **{k: torch.zeros_like(flat.vector.data) for k in names},
                }

    def scratch(self) -> list[torch.Tensor]:
        """As much as a step takes for itself: Adam's denominator, on a processor twice for a moment; and the weights
        as they were, where layers have rates of their own."""
        before = [torch.empty_like(f.vector.data) for f in self.flats if f.rates]
        if self.recipe.optim == "sgd":
            return before
        biggest = max((f.vector.data for f in self.flats), key=torch.Tensor.numel)
        return [*before, *(torch.empty_like(biggest) for _ in range(1 if biggest.is_cuda else 2))]

    def resting(self, step: int) -> list[Flat]:
        """What does not learn yet in this step."""
        return [flat for flat in self.flats if step < round(flat.start * self.total_steps)]

    def rest(self, step: int) -> None:
        """Their gradients count for nothing, the norm included."""
        for flat in self.resting(step):
            flat.grad.zero_()

    def grad_norm(self) -> float:
        """Over all groups, before clipping."""
        return math.sqrt(sum(float(f.grad.norm()) ** 2 for f in self.flats))

    def step(self, step: int, norm: float) -> float:
        """Clip, update, clear; gives the learning rate that was used."""
        limit = self.recipe.max_grad_norm
        if limit and norm > limit:
            for flat in self.flats:
                flat.grad.mul_(limit / norm)
        rate = learning_rate(self.recipe, step, self.total_steps)
        for group in self.inner.param_groups:
            group["lr"] = rate
        before = [(flat, flat.vector.data.clone()) for flat in self.flats if flat.rates]
        with _without_gradients(self.resting(step)):
            self.inner.step()
        for flat, start in before:
            flat.slow_down(start)
        self.clear()
        return rate

    def idle_step(self) -> None:
        """As long as a step, at a rate of zero: no weight changes. The moments do, so nobody trains with it after."""
        for group in self.inner.param_groups:
            group["lr"] = 0.0
        self.inner.step()

    def clear(self) -> None:
        """Gradients to zero, in place."""
        for flat in self.flats:
            flat.grad.zero_()

    def tensors(self) -> dict[str, torch.Tensor]:
        """Weights and moments, by name: all that a resume needs."""
        state = {}
        for i, flat in enumerate(self.flats):
            state[f"weights.{i}"] = flat.vector.data
            for key, value in self.inner.state.get(flat.vector, {}).items():
                if torch.is_tensor(value):
                    state[f"{key}.{i}"] = value
        return state

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        for i, flat in enumerate(self.flats):
            flat.vector.data.copy_(tensors[f"weights.{i}"])
            names = [n for n in tensors if n.endswith(f".{i}") and not n.startswith("weights")]
            if names:
                device = flat.vector.device
                self.inner.state[flat.vector] = {
                    n.rsplit(".", 1)[0]: tensors[n].clone().to(device if tensors[n].dim() else "cpu") for n in names
                }


@contextmanager
def _without_gradients(flats: Sequence[Flat]) -> Iterator[None]:
    """Inside, torch passes these over: no decay, no moments, no step counted."""
    kept = [flat.grad for flat in flats]
    for flat in flats:
        flat.vector.grad = None
    yield
    for flat, grad in zip(flats, kept, strict=True):
        flat.vector.grad = grad


def _by_start(group: Group) -> list[tuple[float, list[nn.Parameter]]]:
    """In the order in which they begin."""
    starts = group.starts or (0.0,) * len(group.parameters)
    return [
        (at, [p for p, start in zip(group.parameters, starts, strict=True) if start == at])
        for at in sorted(set(starts))
    ]


def _by_decay(decay: float, parameters: Sequence[nn.Parameter]) -> list[tuple[float, list[nn.Parameter]]]:
    """Matrices, decayed; and apart norms and biases, which are not. Where there are no matrices, nothing is."""
    matrices = [p for p in parameters if p.dim() >= 2]
    others = [p for p in parameters if p.dim() < 2]
    return [(d, some) for d, some in ((decay, matrices), (0.0, others)) if some]


def _build(recipe: Recipe, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
    if recipe.optim == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov)
    kind = torch.optim.AdamW if recipe.optim == "adamw_torch" else torch.optim.Adam
    return kind(groups, lr=recipe.learning_rate, betas=(recipe.adam_beta1, recipe.adam_beta2), eps=recipe.adam_epsilon)
