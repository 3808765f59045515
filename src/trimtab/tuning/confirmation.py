"""The end of a tune: the best recipe with other seeds, a card, the remedies where that is not inside the budget, the
recommendation. Takes a desk and the clock, decides, and never trains. No torch.

What a remedy brings inside is confirmed like anything else: with other seeds, and with a card of a seed that the walk
over the remedies has not seen.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trimtab.spec.recipe import Recipe
from trimtab.tuning.decisions import Decisions
from trimtab.tuning.desk import Desk
from trimtab.tuning.ladder import Ladder, places_of_run
from trimtab.tuning.run_state import groups_of
from trimtab.tuning.summary import summary, verdict_sentence
from trimtab.tuning.time_left import SEEDS, TimeLeft
from trimtab.tuning.trainer import Trainer

MOST_SEEDS = 5  # where --time leaves room: the interval shrinks with every one
HELD = 2.0  # times as long as the free run: a third more rows where a quarter is replayed, a pull with every step


@dataclass(frozen=True)
class _Ended:
    """Seeds of one recipe, with the card of one of them."""

    recipes: list[Recipe]
    result: dict[str, Any]
    card: dict[str, Any]


class Confirmation:
    """`risks` names those of a recipe; `free` gives a trainer that stops nobody for leaving the budget half-way; None:
    no remedies are tried."""

    def __init__(
        self,
        desk: Desk,
        decisions: Decisions,
        time: TimeLeft,
        risks: Callable[[Recipe], list[dict[str, Any]]],
        free: Callable[[], Trainer] | None,
    ):
        self.desk, self.decisions, self.time, self.risks, self.free = desk, decisions, time, risks, free

    def run(self, best: Recipe) -> dict[str, Any]:
        """The recommendation, as stored: recipe, runs, gain, verdict."""
        return self._stored() or self.recommend(self._confirmed(best))

    def recommend(self, recipes: Sequence[Recipe]) -> dict[str, Any]:
        """Of these seeds of one recipe, or of what brings it inside."""
        if stored := self._stored():
            return stored
        ended = self._measured(recipes)
        if self._worth_a_remedy(ended):
            ended = self._brought_inside(ended)
        elif len(recipes) >= SEEDS and ended.result["standing"] not in ("outside", "not shown"):
            ended = self._with_more_seeds(ended)
        for result in (ended.result, ended.result.get("free")):
            if result:
                result["way"] = self._way_inside(result["run"])
        ended.result["couplings"] = self.risks(Recipe.model_validate(ended.result["recipe"]))
        self.decisions.write("recommendation", verdict_sentence(ended.result), ended.result)
        stored = self._stored()  # as every later call will give it
        assert stored
        return stored

    def _stored(self) -> dict[str, Any] | None:
        """What an earlier process ended in: nothing is decided twice."""
        made = self.decisions.evidence("recommendation")
        if not made:
            return None
        kept = self.desk.tune_facts.recommendation or made
        self.desk.finish(recommendation=kept)
        return kept

    # seeds

    def _confirmed(self, best: Recipe) -> list[Recipe]:
        """The same recipe with other seeds; the first is already there."""
        if decided := self.decisions.evidence("seeds"):
            recipes = _seeds_of(best, decided["seeds"])
        else:
            recipes = self._that_fit(_seeds_of(best, SEEDS))
            missing = SEEDS - len(recipes)
            note = f"; {missing} more did not fit into the time, so the gain is not confirmed" if missing else ""
            sentence = f"Confirm with {len(recipes)} seed{'s' if len(recipes) > 1 else ''}{note}."
            self.decisions.write("seeds", sentence, {"seeds": len(recipes)})
        self.desk.trainer.train(recipes, reopen=True)
        self.desk.tick()
        return recipes

    def _with_more_seeds(self, ended: _Ended) -> _Ended:
        """Up to five in all where a limit leaves time; the card that was taken stays."""
        decided = self.decisions.evidence("more seeds")
        if self.time.limit is None:
            return ended
        first = ended.recipes[0]
        known = len(ended.recipes)
        count = decided["seeds"] if decided else len(self._that_fit(_seeds_of(first, MOST_SEEDS), known, cards=0))
        if count <= known:
            return ended
        more = count - known
        sentence = f"There is time for {more} more seed{'s' if more > 1 else ''}."
        self.decisions.write("more seeds", sentence, {"seeds": count})
        recipes = _seeds_of(first, count)
        self.desk.trainer.train(recipes, reopen=True)
        return self._measured(recipes, chosen=Recipe.model_validate(ended.result["recipe"]))

    def _that_fit(self, recipes: list[Recipe], known: int = 1, cards: int = 1) -> list[Recipe]:
        """As many of them, the first `known` in any case, with so many cards still to come."""
        while len(recipes) > known and not self.time.fits(self._untrained(recipes), 0, len(recipes), cards):
            recipes = recipes[:-1]
        return recipes

    def _untrained(self, recipes: Sequence[Recipe]) -> list[Recipe]:
        """Where no rates were compared, the first seed has not been trained yet either."""
        done = {row.id for row in self.desk.store.runs(self.desk.study) if row.status.is_finished()}
        return [r for r in recipes if r.run_id not in done]

    # measuring

    def _measured(self, recipes: Sequence[Recipe], chosen: Recipe | None = None, fresh: bool = False) -> _Ended:
        """`chosen`: whose card it is; else the median seed by validation loss, of two the worse: the best one would
        promise more than the recipe holds. `fresh`: not the first, which has been judged already."""
        outcomes = self.desk.trainer.train(recipes)  # finished: only looked up
        numbers = self.desk.local.measure_task(recipes)
        able = [o for o in outcomes[1 if fresh and len(outcomes) > 1 else 0 :] if o.eligible] or outcomes
        chosen = chosen or sorted(able, key=lambda o: o.loss)[len(able) // 2].recipe
        card = self.desk.local.card(chosen, seconds=self.time.left())
        self.desk.tick()
        groups, base = groups_of(self.desk.store.run(chosen.run_id), "test"), self.desk.tune_facts.base
        assert base
        result = summary(chosen, outcomes, numbers, base, card, SEEDS, groups, fresh or self.decisions.compared())
        return _Ended(list(recipes), result, card)

    # remedies

    def _worth_a_remedy(self, ended: _Ended) -> bool:
        """Better at the task, and outside or not shown to be inside."""
        if self.free is None:
            return False
        gain = ended.result["gain"]
        return ended.result["standing"] in ("outside", "not shown") and bool(gain) and gain["value"] > 0

    def _way_inside(self, run: str) -> str:
        """What to type to look for it later, against the same budget in the same folder."""
        words = shlex.split(self.desk.row.asked.command)
        given = [w for flag in ("--budget", "--out") if flag in words for w in (flag, words[words.index(flag) + 1])]
        return shlex.join(["trimtab", "inside", run, *given])

    def _brought_inside(self, ended: _Ended) -> _Ended:
        """The cheapest remedy that is inside, with other seeds; what there was where none is, or for lack of time."""
        chosen, budget = Recipe.model_validate(ended.result["recipe"]), self.desk.row.asked.budget
        assert budget
        places = places_of_run(self.desk.store, chosen.run_id)
        confirm = HELD * self.time.confirm_cost(chosen) + self.time.card_seconds()
        limit = None if self.time.limit is None else self.time.limit - confirm
        assert self.free
        desk = replace(self.desk, trainer=self.free())
        ladder = Ladder(desk, chosen, budget, places, limit, self.time.card_level())
        if not ladder.fits():
            ended.result["inside"] = {"price": ladder.price() + confirm}
            return ended
        walked = ladder.run()
        ended.result["inside"] = walked
        if not walked["recommended"]:
            return ended
        best = Recipe.model_validate(walked["recommended"]["recipe"])
        return self._held(ended, best, desk.trainer)

    def _held(self, free: _Ended, best: Recipe, trainer: Trainer) -> _Ended:
        """What is inside, with the seeds of the free runs and more; beside what those gave without the remedy."""
        seeds = [best, *(best.but(seed=r.seed) for r in free.recipes if r.seed != best.seed)]
        seeds = (seeds + _seeds_of(best, SEEDS)[len(seeds) :])[:SEEDS]
        decided = self.decisions.evidence("inside: seeds")
        recipes = seeds[: decided["seeds"]] if decided else self._that_fit(seeds)
        sentence = f"Confirm what is inside with {len(recipes)} seed{'s' if len(recipes) > 1 else ''}."
        self.decisions.write("inside: seeds", sentence, {"seeds": len(recipes)})
        trainer.train(recipes, reopen=True)
        self.desk.tick()
        ended = self._measured(recipes, fresh=True)
        ended.result["inside"] = free.result.pop("inside")
        ended.result["free"] = free.result | {"card": free.card["rows"]}
        return ended


def _seeds_of(recipe: Recipe, count: int) -> list[Recipe]:
    return [recipe.but(seed=(recipe.seed + i) % 2**31) for i in range(count)]
