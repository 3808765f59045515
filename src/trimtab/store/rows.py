"""A run and a study as the store gives them: typed, from rows of its tables. No SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Status
from trimtab.spec.study import Asked, StudyFacts, asked_of, facts_of
from trimtab.store.owner import lives


@dataclass(frozen=True)
class RunRow:
    """A run as stored; `result` is what is known of it so far."""

    id: str
    study: str | None
    created: float
    recipe: Recipe
    status: Status
    reason: str | None
    cohort: str | None
    total_steps: int | None
    result: dict[str, Any]


def best_of(evaluations: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The evaluation whose weights are kept: by its loss, or by the metric that the recipe names, which its pulse then
    has as "score", the less the better. None where there is none."""
    return min(evaluations, key=lambda e: (e["pulse"].get("score") or [e["loss"]])[0], default=None)


@dataclass(frozen=True)
class StudyRow:
    """A study as stored, with its record by kind."""

    id: str
    kind: str
    created: float
    status: Status
    seconds: float
    asked: Asked
    facts: StudyFacts

    @property
    def cut_short(self) -> bool:
        """Open, and whoever worked at it is gone."""
        return self.status == Status.RUNNING and lives(self.facts.owner) is False


def run_row(row: Any) -> RunRow:
    """Of a row of the table."""
    fields = dict(row._mapping)
    return RunRow(**{**fields, "recipe": Recipe.model_validate(fields["recipe"]), "status": Status(fields["status"])})


def study_row(row: Any) -> StudyRow:
    """Of a row of the table, its record by kind."""
    fields = dict(row._mapping)
    asked, facts = asked_of(fields["asked"]), facts_of(fields["kind"], fields["facts"])
    return StudyRow(**{**fields, "status": Status(fields["status"]), "asked": asked, "facts": facts})
