"""Carrying out a designed study: cost first, then its runs, then what they say. Takes a Trainer, a Store and a
design; decides nothing.

Started again it finds its runs in the store: what is complete is looked up, what was interrupted goes on. No torch
here.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from trimtab.analysis import attribution, effects
from trimtab.analysis.stats import by_group
from trimtab.errors import InputError, PlanError
from trimtab.planning.design import EFFECTIVE, Cell, Design
from trimtab.planning.fitting import Forecaster
from trimtab.spec.durations import in_words
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Level, Status
from trimtab.spec.study import DesignAsked, DesignFacts
from trimtab.spec.words import words_of
from trimtab.spec.workload import Workload
from trimtab.tuning.choice import Outcome
from trimtab.tuning.desk import Desk
from trimtab.tuning.run_state import groups_of
from trimtab.tuning.study_cost import pace, timed
from trimtab.tuning.study_evidence import LEAST, varied
from trimtab.tuning.study_sentences import sentence


class DesignedStudy:
    """Trains the cells of a design and compares them."""

    def __init__(self, desk: Desk, design: Design, bf16: bool, cards: Level | None = None):
        """`cards`: the level at which every complete run gets a behaviour card."""
        self.desk, self.design, self.bf16, self.cards = desk, design, bf16, cards
        self.words = words_of(design.baseline.recipe.task)

    @property
    def facts(self) -> DesignFacts:
        facts = self.desk.row.facts
        assert isinstance(facts, DesignFacts)
        return facts

    def run(self) -> dict[str, Any]:
        """{"cells", "moved", "sentence", …}, as stored with the study; `moved`: what differs between cells besides
        what was asked about.

        PlanError where nothing of it fits this machine."""
        cells = self._feasible()
        self._say_cost(cells)
        recipes = [self.design.of(c, s) for c in cells for s in self.design.seeds]
        outcomes = {o.recipe.run_id: o for o in self.desk.trainer.train(recipes, reopen=True)}
        if self.cards:
            self._measure([o.recipe for o in outcomes.values() if o.status == Status.COMPLETE], self.cards)
        result = self._result(
            cells, [[outcomes[self.design.of(c, s).run_id] for s in self.design.seeds] for c in cells]
        )
        self.desk.say(result["sentence"])
        self.desk.finish(result=result)
        return result

    def _measure(self, recipes: Sequence[Recipe], level: Level) -> None:
        """So that attribution knows every number of the card; what was measured already is looked up."""
        for i, recipe in enumerate(recipes, 1):
            began = self.desk.clock()
            self.desk.local.card(recipe, level, whole=True)  # cells are compared item by item
            if (took := self.desk.clock() - began) > 2:
                self.desk.say(f"Card {i} of {len(recipes)} ({level}), {recipe.run_id}: {in_words(took)}")

    def _feasible(self) -> list[Cell]:
        """Cells whose runs do not fit are refused before anything is launched."""
        forecast, refused, fitting = self.desk.local.forecaster(), [], []
        for cell in self.design.cells:
            why = unfit(forecast, Workload.of_recipe(cell.recipe, self.bf16))
            if why is None:
                fitting.append(cell)
            else:
                refused.append({"cell": cell.name, "why": why})
                self.desk.say(f"Not run: {cell.name} {why}")
        self.desk.keep(refused=refused)
        if not fitting:
            raise PlanError(
                "nothing of this study fits this machine: give a smaller per_device_train_batch_size or max_length"
            )
        return fitting

    def _say_cost(self, cells: Sequence[Cell]) -> None:
        """By a few timed micro-batches; runs that are complete already cost nothing."""
        recipes = [self.design.of(c, s) for c in cells for s in self.design.seeds]
        complete = {r.id for r in self.desk.store.runs() if r.status == Status.COMPLETE}
        due = [r for r in recipes if r.run_id not in complete]
        seeds = len(self.design.seeds)
        text = (
            f"{len(recipes)} runs ({len(cells)} cell{'' if len(cells) == 1 else 's'}, {seeds}"
            f" seed{'' if seeds == 1 else 's'})"
        )
        if not due:
            self.desk.say(f"{text}, all of them there already")
            return
        known = self.facts.timed or timed(self.desk.local, due[0])
        self.desk.keep(timed=known.model_dump())
        seconds = pace(known).seconds(due)
        cards = ", cards not counted" if self.cards else ""
        self.desk.say(f"{text}; {len(due)} to train, about {in_words(seconds)} one after another{cards}")

    def _result(self, cells: Sequence[Cell], outcomes: Sequence[Sequence[Outcome]]) -> dict[str, Any]:
        seeds = self.design.seeds
        whole = [
            {s: o.items for s, o in zip(seeds, row, strict=True) if o.status == Status.COMPLETE} for row in outcomes
        ]
        look = self._look()
        alpha = effects.spent(look)
        against = effects.contrasts(whole[0], whole[1:], alpha) if len(cells) > 1 else []
        levels = effects.levels(whole)
        names = dict.fromkeys(k for c in cells for k in c.changed if k != "without")
        rows = [
            {
                "cell": cell.name,
                "changed": dict(cell.changed),
                "at": {k: _at(cell.recipe, k) for k in names},
                "runs": [o.recipe.run_id for o in row],
                "steps": self.desk.store.run(row[0].recipe.run_id).total_steps,
                "learning_rate": cell.recipe.learning_rate,
                "status": [o.status for o in row],
                "losses": [o.loss if math.isfinite(o.loss) else None for o in row],
                "mean": _mean([o.loss for o in row if o.status == Status.COMPLETE]),
                "interval": level,
                "drift": _mean([o.drift for o in row if o.drift is not None]),
                "breach": [o.breach for o in row if o.breach],
                "against": _row(contrast),
            }
            for cell, row, contrast, level in zip(cells, outcomes, [None, *against], levels, strict=True)
        ]
        spread = gain = None
        if self.design.kind == "repeat" and whole[0]:
            spread = effects.stability([o.loss for o in outcomes[0] if o.status == Status.COMPLETE])
            gain = self._gain(cells[0].recipe, whole[0], alpha)
        return {
            "kind": self.design.kind,
            "question": self.design.question,
            "held": list(self.design.held),
            "seeds": list(seeds),
            "look": look,
            "alpha": alpha,
            "cells": rows,
            "moved": [k for k in ("learning_rate", "steps") if k not in names and len({r[k] for r in rows}) > 1],
            "stability": spread,
            "gain": gain,
            "sentence": sentence(self.design.kind, rows, spread, gain, self._shares(outcomes), self.words.unit),
            "refused": self.facts.refused or [],
            "words": self.words.shown(),
        }

    def _look(self) -> int:
        """The how-manieth look at this question this is: each earlier study of the same kind that compared at least
        two of these cells and could claim something (two seeds) was one, whether it was extended, asked anew or asked
        with another of them as the baseline."""
        own, cells = self.desk.row, {c.recipe.hash for c in self.design.cells}
        fewest = min(2, len(cells))
        earlier = [
            s
            for s in self.desk.store.studies()
            if isinstance(s.asked, DesignAsked)
            and s.asked.kind == self.design.kind
            and len(cells & {c.hash for c in s.asked.cells}) >= fewest
            and s.id != own.id
            and s.created <= own.created
            and s.status == Status.COMPLETE
            and len(s.asked.seeds) > 1
        ]
        return 1 + len(earlier)

    def _gain(self, recipe: Recipe, tuned: effects.BY_SEED, alpha: float) -> dict[str, Any] | None:
        """Of a repeated recipe over the untouched model, on the same items."""
        untouched = self.facts.untouched
        if untouched is None:
            untouched = self.desk.local.untouched(recipe)
            self.desk.keep(untouched=untouched)
        alone = by_group(untouched, groups_of(self.desk.store.run(recipe.run_id), "validation"))
        (gain,) = effects.contrasts(dict.fromkeys(tuned, alone), [tuned], alpha)
        return _row(gain)

    def _shares(self, outcomes: Sequence[Sequence[Outcome]]) -> str | None:
        """How much each setting of a factorial matters to the validation loss."""
        whole = [o for row in outcomes for o in row if o.status == Status.COMPLETE]
        if self.design.kind != "factorial" or len(whole) < LEAST:
            return None
        shares = attribution.attribute(varied([o.recipe for o in whole]), [o.loss for o in whole])
        return attribution.sentence(shares, "validation loss", self.words.unit)


def unfit(forecast: Forecaster | None, workload: Workload) -> str | None:
    """Why a workload is not started; None where it fits, or nobody can say."""
    try:
        answer = forecast(workload) if forecast else None
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
