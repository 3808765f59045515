"""A study's decisions: each is made once, kept with its evidence and said in one sentence. Takes a desk."""

from __future__ import annotations

from typing import Any

from trimtab.spec.recipe import Recipe
from trimtab.tuning.desk import Desk


class Decisions:
    """Of the study at this desk, by place."""

    def __init__(self, desk: Desk):
        self.desk = desk

    def stored(self, place: str) -> dict[str, Any] | None:
        """As the store keeps it; None: not made yet."""
        return next((d for d in self.desk.store.decisions(self.desk.study) if d["place"] == place), None)

    def evidence(self, place: str) -> dict[str, Any] | None:
        decision = self.stored(place)
        return decision and decision["evidence"]

    def recipe(self, place: str) -> Recipe | None:
        """What was decided there to go on with."""
        evidence = self.evidence(place)
        return Recipe.model_validate(evidence["recipe"]) if evidence else None

    def compared(self) -> bool:
        """Whether any step compared runs: where time was too short for all of them, no seed chose anything."""
        return any(d["evidence"].get("table") for d in self.desk.store.decisions(self.desk.study))

    def write(self, place: str, sentence: str, evidence: dict[str, Any]) -> None:
        """Keeps it, where it was not made before."""
        if self.stored(place) is None:
            self.desk.store.decide(self.desk.study, place, sentence, evidence)
            self.desk.say(sentence)
        self.desk.tick()
