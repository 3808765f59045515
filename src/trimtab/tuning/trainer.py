"""The seam between deciding and training: what a study asks of whoever trains and measures. Tests put a fake here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from trimtab.planning.facts import Facts
from trimtab.planning.fitting import Forecaster
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Level
from trimtab.tuning.choice import Outcome
from trimtab.tuning.race import Race


class Trainer(Protocol):
    """Whoever trains: a worker in this process, or one that has others train."""

    def train(self, recipes: Sequence[Recipe], race: Race | None = None, reopen: bool = False) -> list[Outcome]:
        """Train (or continue, or just look up) these runs; compatible ones as a cohort. `race`: losers are stopped;
        `reopen`: those stopped go on. Raises the error of the first run where all of them failed, Stopped where
        somebody asked for it."""


class Local(Protocol):
    """What is asked of this process, wherever runs are trained."""

    def facts(self) -> Facts:
        """Model, data and machine as the rules need them."""

    def forecaster(self) -> Forecaster | None:
        """Forecasts a workload on this machine, quickly; None where that is not possible."""

    def describe_data(self, recipe: Recipe) -> dict[str, Any]:
        """The table of what was read, as this recipe's model takes it."""

    def table_lines(self, table: dict[str, Any]) -> list[str]:
        """That table for a terminal."""

    def seconds_per_size(self, recipe: Recipe) -> float:
        """For one unit of size (a token), timed on real micro-batches."""

    def flops(self) -> float:
        """What a large product does in a second here, a multiply-add counted as two; infinite: it says nothing."""

    def screen(self, recipes: Sequence[Recipe]) -> list[float]:
        """A quick look at each: held-out loss a little way into training the upper layers alone. For dropping the
        worse half only."""

    def untouched(self, recipe: Recipe) -> list[float]:
        """What the model loses on each held-out item before any training, in the task's unit."""

    def measure_base(self, recipe: Recipe) -> dict[str, Any]:
        """The untouched model's task numbers, the task's metric and what a card will take; once per study."""

    def measure_task(self, recipes: Sequence[Recipe]) -> dict[str, dict[str, list[float]]]:
        """Task numbers per item on the test split, for each trained run."""

    def side(self, recipe: Recipe) -> dict[str, list[float]]:
        """What remedies are set by, of a trained run at this recipe's adapter_scale; on probes that no card asks."""

    def card(
        self, recipe: Recipe, level: Level = "card", whole: bool = False, seconds: float = math.inf
    ) -> dict[str, Any]:
        """The judged behaviour card of one trained run, at least as thorough as `level`; every question is asked, or
        (unless `whole`) as many as tell on which side of its limit each number lies, while there are `seconds`."""
