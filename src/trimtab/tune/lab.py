"""The seam between the coach, which only decides, and whoever trains and measures. Tests put a fake here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from trimtab.plan.facts import Facts
from trimtab.plan.fitting import Ask
from trimtab.spec.recipe import Recipe
from trimtab.tune.choice import Outcome
from trimtab.tune.race import Race


class Lab(Protocol):
    def facts(self) -> Facts:
        """Model, data and machine as the rules need them."""

    def ask(self) -> Ask | None:
        """Forecasts a workload on this machine, quickly; None where that is not possible."""

    def describe_data(self, max_length: int) -> dict[str, Any]:
        """The table of what was read."""

    def measure_base(self) -> dict[str, Any]:
        """The untouched model's task numbers, the task's metric and what a card will take; once per study."""

    def seconds_per_token(self, recipe: Recipe) -> float:
        """Timed on real micro-batches."""

    def train(self, recipes: Sequence[Recipe], race: Race | None = None, reopen: bool = False) -> list[Outcome]:
        """Train (or continue, or just look up) these runs; compatible ones as a cohort. `race`: losers are stopped; `reopen`: those stopped go on."""

    def screen(self, recipes: Sequence[Recipe]) -> list[float]:
        """A quick look at each: held-out loss a little way into training the upper layers alone. For dropping the worse half only."""

    def untouched(self, recipe: Recipe) -> list[float]:
        """What the model loses on each held-out item before any training, nats/token."""

    def measure_task(self, recipes: Sequence[Recipe]) -> dict[str, dict[str, list[float]]]:
        """Task numbers per item on the test split, for each trained run."""

    def card(self, recipe: Recipe, level: Any = "card") -> dict[str, Any]:
        """The judged behaviour card of one trained run, at least as thorough as `level`."""
