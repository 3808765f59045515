"""Reasons to stop a run, as pure bookkeeping. Takes one number at a time, gives a Stop or None. No torch.

Thresholds: rules.json D1 and D2 (llm-foundry KillLossSpike, axolotl's watchdog). A guard never touches weights: it is
asked before the update, so the weights of a stopped run are those of its last good step.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from trimtab.spec.status import Cause


class Stop(NamedTuple):
    """That a run ends, why, and in which words."""

    cause: Cause
    reason: str


@dataclass(frozen=True)
class Limits:
    """None: no limit. Seconds count from the start of this process's work on the run."""

    max_size: int | None = None  # of all items passed: tokens, pixels, rows
    max_seconds: float | None = None


@dataclass
class Guard:
    """Watches one run's numbers and limits."""

    total_steps: int
    limits: Limits = Limits()
    clock: Callable[[], float] = time.monotonic
    recent: deque[float] = field(default_factory=deque)
    high: int = 0
    size_word: str = "units"
    diverged_above: float | None = None  # of the task: a loss that a run which had learned something never shows
    started: float = 0.0

    def __post_init__(self) -> None:
        self.recent = deque(self.recent, maxlen=max(100, self.total_steps // 20))
        self.started = self.clock()

    def before_update(self, step: int, loss: float, grad_norm: float, size: int) -> Stop | None:
        """Why the run ends here, or None; the update is not made then."""
        broken = _numbers(loss, grad_norm, step) or _dead(grad_norm, step) or self._explosion(loss, step)
        if broken:
            return Stop(Cause.GUARD, broken)
        reached = self._limit(size)
        return Stop(Cause.LIMIT, reached) if reached else None

    def _explosion(self, loss: float, step: int) -> str | None:
        """Twice the rolling mean for more than 4 steps in a row; or above `diverged_above` for 3 steps after it had
        been below half of that.

        The published rule is "above 5 nats" alone; a base model may begin there, so the fall before it is asked for.
        """
        mean = sum(self.recent) / len(self.recent) if self.recent else None
        self.high = self.high + 1 if mean is not None and len(self.recent) >= 5 and loss >= 2 * mean else 0
        self.recent.append(loss)
        if self.high > 4:
            return (
                f"loss exploded: {loss:.2f} at step {step} and at least twice its rolling mean ({mean:.2f}) "
                f"for {self.high} steps; try half the learning_rate"
            )
        above = self.diverged_above
        if above is not None and min(self.recent) < above / 2 and min(list(self.recent)[-3:]) > above:
            low = min(self.recent)
            return (
                f"loss exploded: above {above:g} for 3 steps at step {step}, after {low:.2f}; try half the"
                " learning_rate"
            )
        return None

    def _limit(self, size: int) -> str | None:
        if self.limits.max_size is not None and size >= self.limits.max_size:
            return f"limit of {self.limits.max_size:,} {self.size_word} reached"
        spent = self.clock() - self.started
        if self.limits.max_seconds is not None and spent >= self.limits.max_seconds:
            return f"time limit of {self.limits.max_seconds:.0f} s reached"
        return None


def _numbers(loss: float, grad_norm: float, step: int) -> str | None:
    for name, value in (("loss", loss), ("gradient norm", grad_norm)):
        if not math.isfinite(value):
            return (
                f"{name} is {value} at step {step}; check the precision and the data, else try a third of the"
                " learning_rate"
            )
    return None


def _dead(grad_norm: float, step: int) -> str | None:
    if grad_norm == 0.0:
        return (
            f"the gradient is exactly zero at step {step}: nothing is being learned; "
            "check that the adapter is attached and that there are labels to learn from"
        )
    return None
