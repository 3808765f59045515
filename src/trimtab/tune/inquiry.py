"""Carrying out a designed study: cost first, then its runs, then what they say. Takes a Lab, a Store and a design; decides nothing.

Started again it finds its runs in the store: what is complete is looked up, what was interrupted goes on. No torch here.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from trimtab.analysis import attribution, effects
from trimtab.errors import InputError, PlanError
from trimtab.plan.design import EFFECTIVE, Cell, Design
from trimtab.plan.fitting import Ask
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Status
from trimtab.spec.workload import Workload
from trimtab.store import Store
from trimtab.tune import answer, cost
from trimtab.tune.budgeting import in_words
from trimtab.tune.choice import Outcome
from trimtab.tune.evidence import LEAST, varied
from trimtab.tune.lab import Lab


class Inquiry:
    def __init__(
        self, lab: Lab, store: Store, study: str, design: Design, bf16: bool, say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic, cards: str | None = None,
    ):  # fmt: skip
        """`cards`: the level at which every complete run gets a behaviour card."""
        self.cards = cards
        self.lab, self.store, self.study, self.design, self.bf16, self.say, self.clock = (
            lab,
            store,
            study,
            design,
            bf16,
            say,
            clock,
        )

    def run(self) -> dict[str, Any]:
        """{"cells", "moved", "sentence", …}, as stored with the study; `moved`: what differs between cells besides what was asked about."""
        began, before = self.clock(), self.store.study(self.study).seconds
        cells = self._feasible()
        self._say_cost(cells)
        recipes = [self.design.of(c, s) for c in cells for s in self.design.seeds]
        found = {o.recipe.run_id: o for o in self.lab.train(recipes, reopen=True)}
        if self.cards:
            self._measure([o.recipe for o in found.values() if o.status == Status.COMPLETE])
        result = self._result(cells, [[found[self.design.of(c, s).run_id] for s in self.design.seeds] for c in cells])
        self.say(result["sentence"])
        seconds = before + self.clock() - began
        self.store.update_study(self.study, status=Status.COMPLETE, seconds=seconds, facts={"result": result})
        return result

    def _measure(self, recipes: Sequence[Recipe]) -> None:
        """So that attribution knows every number of the card; what was measured already is looked up."""
        for i, recipe in enumerate(recipes, 1):
            began = self.clock()
            self.lab.card(recipe, self.cards)
            if (took := self.clock() - began) > 2:
                self.say(f"Card {i} of {len(recipes)} ({self.cards}), {recipe.run_id}: {in_words(took)}")

    def _feasible(self) -> list[Cell]:
        """Cells whose runs do not fit are refused before anything is launched."""
        ask, refused, fitting = self.lab.ask(), [], []
        for cell in self.design.cells:
            why = unfit(ask, Workload.of_recipe(cell.recipe, self.bf16))
            if why is None:
                fitting.append(cell)
            else:
                refused.append({"cell": cell.name, "why": why})
                self.say(f"Not run: {cell.name} {why}")
        self.store.update_study(self.study, facts={"refused": refused})
        if not fitting:
            raise PlanError(
                "nothing of this study fits this machine: give a smaller per_device_train_batch_size or max_length"
            )
        return fitting

    def _say_cost(self, cells: Sequence[Cell]) -> None:
        """By a few timed micro-batches; runs that are complete already cost nothing."""
        recipes = [self.design.of(c, s) for c in cells for s in self.design.seeds]
        complete = {r.id for r in self.store.runs() if r.status == Status.COMPLETE}
        due = [r for r in recipes if r.run_id not in complete]
        seeds = len(self.design.seeds)
        text = f"{len(recipes)} runs ({len(cells)} cell{'' if len(cells) == 1 else 's'}, {seeds} seed{'' if seeds == 1 else 's'})"
        if not due:
            self.say(f"{text}, all of them there already")
            return
        facts = self.store.study(self.study).facts
        if "per_token" not in facts:
            facts = cost.measured(self.lab, due[0])
            self.store.update_study(self.study, facts=facts)
        seconds = cost.pace(facts, due[0]).seconds(due)
        cards = ", cards not counted" if self.cards else ""
        self.say(f"{text}; {len(due)} to train, about {in_words(seconds)} one after another{cards}")

    def _result(self, cells: Sequence[Cell], outcomes: Sequence[Sequence[Outcome]]) -> dict[str, Any]:
        seeds = self.design.seeds
        whole = [
            {s: o.items for s, o in zip(seeds, row, strict=True) if o.status == Status.COMPLETE} for row in outcomes
        ]
        against = effects.contrasts(whole[0], whole[1:]) if len(cells) > 1 else []
        levels = effects.levels(whole)
        names = dict.fromkeys(k for c in cells for k in c.changed if k != "without")
        rows = [
            {
                "cell": cell.name, "changed": dict(cell.changed), "at": {k: _at(cell.recipe, k) for k in names}, "runs": [o.recipe.run_id for o in row],
                "steps": self.store.run(row[0].recipe.run_id).total_steps, "learning_rate": cell.recipe.learning_rate,
                "status": [o.status for o in row], "losses": [o.loss if math.isfinite(o.loss) else None for o in row],
                "mean": _mean([o.loss for o in row if o.status == Status.COMPLETE]), "interval": level, "kl": _mean([o.kl for o in row if o.kl is not None]),
                "breach": [o.breach for o in row if o.breach], "against": _row(contrast),
            }
            for cell, row, contrast, level in zip(cells, outcomes, [None, *against], levels, strict=True)
        ]  # fmt: skip
        spread = gain = None
        if self.design.kind == "repeat" and whole[0]:
            spread = effects.stability([o.loss for o in outcomes[0] if o.status == Status.COMPLETE])
            gain = self._gain(cells[0].recipe, whole[0])
        return {
            "kind": self.design.kind, "question": self.design.question, "held": list(self.design.held), "seeds": list(seeds), "cells": rows,
            "moved": [k for k in ("learning_rate", "steps") if k not in names and len({r[k] for r in rows}) > 1], "stability": spread, "gain": gain, "sentence": answer.sentence(self.design.kind, rows, spread, gain, self._shares(outcomes)), "refused": self.store.study(self.study).facts["refused"],
        }  # fmt: skip

    def _gain(self, recipe: Recipe, tuned: effects.BY_SEED) -> dict[str, Any] | None:
        """Of a repeated recipe over the untouched model, on the same items."""
        facts = self.store.study(self.study).facts
        if "untouched" not in facts:
            facts = {"untouched": self.lab.untouched(recipe)}
            self.store.update_study(self.study, facts=facts)
        (found,) = effects.contrasts(dict.fromkeys(tuned, facts["untouched"]), [tuned])
        return _row(found)

    def _shares(self, outcomes: Sequence[Sequence[Outcome]]) -> str | None:
        """How much each setting of a factorial matters to the validation loss."""
        whole = [o for row in outcomes for o in row if o.status == Status.COMPLETE]
        if self.design.kind != "factorial" or len(whole) < LEAST:
            return None
        found = attribution.attribute(varied([o.recipe for o in whole]), [o.loss for o in whole])
        return attribution.sentence(found, "validation loss")


def unfit(ask: Ask | None, workload: Workload) -> str | None:
    """Why a workload is not started; None where it fits, or nobody can say."""
    try:
        answer = ask(workload) if ask else None
    except InputError as error:
        return f"cannot be run: {error}"
    if answer is None or answer.fits:
        return None
    return f"needs {answer.used / 2**30:.1f} GiB by the forecast, more than there is"


def _at(recipe: Recipe, setting: str) -> Any:
    return recipe.effective_batch if setting == EFFECTIVE else getattr(recipe, setting)


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _row(c: effects.Contrast | None) -> dict[str, Any] | None:
    if c is None:
        return None
    known = {k: v if math.isfinite(v := getattr(c.interval, k)) else None for k in ("value", "low", "high")}
    return {**known, "p": c.p, "verdict": c.verdict, "need": c.need}
