"""What still fits into --time. Takes measured seconds per token, gives estimates. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trimtab.spec.recipe import Recipe


@dataclass(frozen=True)
class Pace:
    """Measured on this machine with this model: training seconds per token (evaluations included), tokens of one epoch."""

    seconds_per_token: float
    epoch_tokens: int
    examples: int

    def seconds(self, recipes: Sequence[Recipe]) -> float:
        return sum(self.epoch_tokens * self._epochs(r) * self.seconds_per_token for r in recipes)

    def _epochs(self, recipe: Recipe) -> float:
        return recipe.steps(self.examples) * recipe.effective_batch / self.examples


def in_words(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


# A whole study costs about this many times its starting recipe: rates 1.5 and batch 1.25 (the race stops the losers
# early), two more seeds 2, and room for part of the longer run that the epochs step tries.
STUDY_COST = 6.5


def affordable_epochs(wanted: float, seconds: float, pace: Pace) -> float:
    """The starting epochs that leave room for the whole study, in quarters, at least 0.5."""
    one_epoch = pace.epoch_tokens * pace.seconds_per_token
    return min(wanted, max(0.5, int(4 * seconds / (STUDY_COST * one_epoch)) / 4))
