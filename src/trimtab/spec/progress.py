"""Whoever shows what is happening. Told of cohorts, steps and notes by the verbs that train; shows them or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from trimtab.spec.recipe import Recipe

Say = Callable[[str], None]


def silent(_text: str) -> None:
    """A `Say` that tells nobody."""


class Progress(Protocol):
    """`step` gets an optimizer step's numbers ("step", "loss", …) or an evaluation's ("evaluation", "drift")."""

    def cohort(self, recipes: Sequence[Recipe], steps: Mapping[str, int]) -> None:
        """These runs train together from now on; `steps` of each in all, by run id."""

    def step(self, run: str, numbers: Mapping[str, Any]) -> None: ...
    def note(self, text: str) -> None: ...
    def done(self) -> None: ...


class Silent:
    """Shows nothing."""

    def cohort(self, recipes: Sequence[Recipe], steps: Mapping[str, int]) -> None: ...
    def step(self, run: str, numbers: Mapping[str, Any]) -> None: ...
    def note(self, text: str) -> None: ...
    def done(self) -> None: ...


SILENT = Silent()
