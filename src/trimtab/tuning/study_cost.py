"""What a study costs, and what still fits into --time. Takes measured seconds for each unit of size (a token), gives
estimates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trimtab.spec.recipe import Recipe
from trimtab.spec.study import Timed
from trimtab.spec.words import words_of
from trimtab.tuning.trainer import Local

# A unit of a micro-batch half as large costs up to this power of two more (measured on two cores: 8 to 4 rows, 1.8
# times).
SMALLER = 0.8


@dataclass(frozen=True)
class Pace:
    """Measured here with this model: training seconds for a unit of size by micro-batch; one epoch's size;
    `evaluated`: the size of one evaluation with its pulse."""

    per_size: Mapping[int, float]
    epoch_size: int
    examples: int
    evaluated: float = 0.0

    def seconds(self, recipes: Sequence[Recipe]) -> float:
        """That these recipes take, one after another."""
        return sum(self._size(r) * self._per(r.per_device_train_batch_size) for r in recipes)

    def evaluating(self, recipe: Recipe) -> float:
        """The share of this recipe's time that goes into its evaluations."""
        return self._evaluations(recipe) / self._size(recipe)

    def _evaluations(self, recipe: Recipe) -> float:
        """A forward pass is a third of a training step."""
        return len(recipe.evaluations()) * self.evaluated / 3

    def _size(self, recipe: Recipe) -> float:
        pulls = recipe.steps_taken(self.examples) * words_of(recipe.task).pull_size if recipe.pull else 0
        return self.epoch_size * self._epochs(recipe) + self._evaluations(recipe) + pulls

    def _per(self, micro: int) -> float:
        nearest = min(self.per_size, key=lambda m: abs(math.log(m / micro)))
        return self.per_size[nearest] * max(1.0, nearest / micro) ** SMALLER

    def _epochs(self, recipe: Recipe) -> float:
        return recipe.steps_taken(self.examples) * recipe.effective_batch / self.examples


# A whole study costs about this many times its starting recipe: rates 2 and batch 2.25 (the race stops the losers
# half-way, a smaller batch is slower), two more seeds 2, and room for a slower hour.
STUDY_COST = 7.5


# Epochs of a study that compares nothing: from one and a half down to a fifth.
LENGTHS = [1.5, 1.25, 1.0, 0.75, *(n / 20 for n in range(10, 3, -1))]


def affordable_epochs(recipe: Recipe, seconds: float, pace: Pace, seeds: int) -> float:
    """The starting epochs that leave room for the whole study, in quarters; where not even one epoch does, as many as
    leave room for the `seeds` that confirm it: rates compared after half an epoch say little, and a longer run learns
    more."""
    one_epoch = pace.seconds([recipe.but(num_train_epochs=1.0)])
    whole = int(4 * seconds / (STUDY_COST * one_epoch)) / 4
    if whole >= 1:
        return min(recipe.num_train_epochs, whole)
    cost = {e: seeds * pace.seconds([recipe.but(num_train_epochs=e)]) for e in LENGTHS}
    return min(recipe.num_train_epochs, next((e for e in LENGTHS if cost[e] <= seconds), LENGTHS[-1]))


ROOM = 1.15  # a timed micro-batch is quicker than one among optimizer steps and checkpoints


def timed(local: Local, recipe: Recipe, read: Mapping[str, Any] | None = None) -> Timed:
    """What a few timed micro-batches of this recipe say, to be kept with the study. Trains nothing. `read`: its data
    described, where they have been."""
    about, read = local.facts(), read or local.describe_data(recipe)
    held_out = read["examples"].get("validation", 0) * about.size / about.examples
    return Timed(
        per_size=local.seconds_per_size(recipe) * ROOM,
        size=about.size,
        examples=about.examples,
        evaluated=held_out + words_of(recipe.task).pulse_size,
        micro=recipe.per_device_train_batch_size,
    )


def pace(known: Timed) -> Pace:
    """Of what was timed."""
    return Pace(known.paces, known.size, known.examples, known.evaluated)
