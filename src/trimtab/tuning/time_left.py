"""What a tune's --time still holds, by what it has seen so far. Takes a desk and the limit, gives seconds and whether
something fits into them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.spec.budget import level_needed
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import LEVELS, Level
from trimtab.tuning.desk import Desk
from trimtab.tuning.study_cost import ROOM, Pace

SEEDS = 3  # that a recommendation is confirmed with
ENOUGH = 5000  # of a size (tokens) that runs passed, from which on their pace is better than a timing


class TimeLeft:
    """`limit`: seconds for all of it, None: as long as it takes. Asked once the study's base and pace are known."""

    def __init__(self, desk: Desk, limit: float | None):
        self.desk, self.limit = desk, limit

    def left(self) -> float:
        return math.inf if self.limit is None else self.limit - self.desk.seconds()

    def fits(self, recipes: Sequence[Recipe], reserve: float, seeds: int = SEEDS, cards: int = 1) -> bool:
        """These trained one by one, `reserve` kept back, and the end of the study with so many seeds and cards."""
        return self.pace().seconds(recipes) + reserve + self.card_seconds(seeds, cards) <= self.left()

    def pace(self) -> Pace:
        """Timed at the start; as soon as there are runs, by what their steps took."""
        known = self.desk.tune_facts.timed
        assert known
        paces = dict(known.paces)
        done = [r for r in self.desk.store.runs(self.desk.study) if r.result.get("size")]
        for micro in {r.recipe.per_device_train_batch_size for r in done}:
            same = [r.result for r in done if r.recipe.per_device_train_batch_size == micro]
            size, seconds = sum(r["size"] for r in same), sum(r["seconds"] for r in same)
            if size > ENOUGH:
                paces[micro] = ROOM * seconds / size
        return Pace(paces, known.size, known.examples, known.evaluated)

    def confirm_cost(self, recipe: Recipe) -> float:
        """Of the seeds, with some room: three of them are worth more than a step that is tried."""
        return 1.2 * self.pace().seconds([recipe] * (SEEDS - 1))

    def card_seconds(self, seeds: int = SEEDS, cards: int = 1) -> float:
        """Task answers of the seeds, with some room, and the first rounds of the cards, by what the base model's task
        answers took; a card asks less where it gets less time, and goes on while there is some."""
        base = self.desk.tune_facts.base
        assert base
        return float(1.2 * seeds * base["answer_seconds"] + cards * _first(base)[self.card_level()])

    def card_level(self) -> Level:
        """What time is kept for, and how remedies are judged: the whole card, unless its first round would take more
        than a third of the time that is allowed; never less than what the budget's hard limits ask for."""
        base = self.desk.tune_facts.base
        assert base
        if self.limit is None or _first(base)["card"] <= self.limit / 3:
            return "card"
        budget = self.desk.row.asked.budget
        return max("short", level_needed(budget) if budget else "short", key=LEVELS.index)


def _first(base: Mapping[str, Any]) -> Mapping[str, float]:
    """Seconds of a card's first round by level; studies of earlier versions know those of a whole card alone."""
    known: Mapping[str, float] = base.get("first_seconds") or base["card_seconds"]
    return known
