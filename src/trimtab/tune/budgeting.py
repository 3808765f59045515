"""What still fits into --time. Takes measured seconds per token, gives estimates. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trimtab.spec.recipe import Recipe

# A token of a micro-batch half as large costs up to this power of two more (measured on two cores: 8 to 4 rows, 1.8 times).
SMALLER = 0.8


@dataclass(frozen=True)
class Pace:
    """Measured here with this model: training seconds per token by micro-batch; one epoch's size; `evaluated`: tokens of one evaluation
    with its pulse, 0 where the seconds were measured with evaluations in them."""

    per_token: Mapping[int, float]
    epoch_tokens: int
    examples: int
    evaluated: float = 0.0

    def seconds(self, recipes: Sequence[Recipe]) -> float:
        return sum(self._tokens(r) * self._per_token(r.per_device_train_batch_size) for r in recipes)

    def _tokens(self, recipe: Recipe) -> float:
        """A forward pass is a third of a training step."""
        evaluations = len(recipe.evaluations()) * self.evaluated / 3
        return self.epoch_tokens * self._epochs(recipe) + evaluations

    def _per_token(self, micro: int) -> float:
        nearest = min(self.per_token, key=lambda m: abs(math.log(m / micro)))
        return self.per_token[nearest] * max(1.0, nearest / micro) ** SMALLER

    def _epochs(self, recipe: Recipe) -> float:
        return recipe.steps(self.examples) * recipe.effective_batch / self.examples


def in_words(seconds: float, digits: int = 0) -> str:
    """`digits` of the minutes."""
    if seconds >= 2 * 86400:
        return f"{seconds / 86400:.0f} days"
    if seconds >= 3 * 3600:
        return f"{seconds / 3600:.0f} hours"
    if seconds >= 120:
        return f"{seconds / 60:.{digits}f} minutes"
    return f"{seconds:.2g} seconds" if seconds < 10 else f"{seconds:.0f} seconds"


# A whole study costs about this many times its starting recipe: rates 2 and batch 2.25 (the race stops the losers half-way,
# a smaller batch is slower), two more seeds 2, and room for a slower hour.
STUDY_COST = 7.5


def affordable_epochs(recipe: Recipe, seconds: float, pace: Pace) -> float:
    """The starting epochs that leave room for the whole study, in quarters, at least 0.5."""
    one_epoch = pace.seconds([recipe.but(num_train_epochs=1.0)])
    return min(recipe.num_train_epochs, max(0.5, int(4 * seconds / (STUDY_COST * one_epoch)) / 4))
