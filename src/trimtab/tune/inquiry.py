"""Carrying out a designed study: cost first, then its runs, then what they say. Takes a Lab, a Store and a design; decides nothing.

Started again it finds its runs in the store: what is complete is looked up, what was interrupted goes on. No torch here.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from trimtab.analysis import effects
from trimtab.errors import InputError, PlanError
from trimtab.plan.design import EFFECTIVE, Cell, Design
from trimtab.plan.fitting import Ask
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Status
from trimtab.spec.workload import Workload
from trimtab.store import Store
from trimtab.tune.budgeting import Pace, in_words
from trimtab.tune.choice import Outcome
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
        """{"cells", "sentence", …}, as stored with the study."""
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
        text = f"{len(recipes)} runs ({len(cells)} cells, {len(self.design.seeds)} seeds)"
        if not due:
            self.say(f"{text}, all of them there already")
            return
        facts = self.store.study(self.study).facts
        if "per_token" not in facts:
            about = self.lab.facts()
            facts = {
                "per_token": self.lab.seconds_per_token(due[0]) * 1.15,
                "tokens": about.tokens,
                "examples": about.examples,
            }
            self.store.update_study(self.study, facts=facts)
        pace = Pace({due[0].per_device_train_batch_size: facts["per_token"]}, facts["tokens"], facts["examples"])
        self.say(
            f"{text}; {len(due)} to train, about {in_words(pace.seconds(due))} one after another, evaluations not counted"
        )

    def _result(self, cells: Sequence[Cell], outcomes: Sequence[Sequence[Outcome]]) -> dict[str, Any]:
        seeds = self.design.seeds
        whole = [
            {s: o.items for s, o in zip(seeds, row, strict=True) if o.status == Status.COMPLETE} for row in outcomes
        ]
        against = effects.contrasts(whole[0], whole[1:]) if len(cells) > 1 else []
        names = dict.fromkeys(k for c in cells for k in c.changed if k != "without")
        rows = [
            {
                "cell": cell.name, "changed": dict(cell.changed), "at": {k: _at(cell.recipe, k) for k in names}, "runs": [o.recipe.run_id for o in row],
                "status": [o.status for o in row], "losses": [o.loss if math.isfinite(o.loss) else None for o in row],
                "mean": _mean([o.loss for o in row if o.status == Status.COMPLETE]), "kl": _mean([o.kl for o in row if o.kl is not None]),
                "breach": [o.breach for o in row if o.breach], "against": _row(contrast),
            }
            for cell, row, contrast in zip(cells, outcomes, [None, *against], strict=True)
        ]  # fmt: skip
        spread = (
            effects.stability([o.loss for o in outcomes[0] if o.status == Status.COMPLETE])
            if self.design.kind == "repeat" and whole[0]
            else None
        )
        return {
            "kind": self.design.kind, "question": self.design.question, "held": list(self.design.held), "seeds": list(seeds), "cells": rows,
            "stability": spread, "sentence": sentence(self.design, rows, spread), "refused": self.store.study(self.study).facts["refused"],
        }  # fmt: skip


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


def sentence(design: Design, rows: Sequence[dict[str, Any]], spread: dict[str, Any] | None) -> str:
    """The answer for someone who reads nothing else."""
    if spread is not None:
        return _of_repeats(spread)
    if design.kind == "repeat":
        return "No seed was trained to its end."
    parts = [
        _told(rows),
        _listed(
            "Cannot tell yet",
            [f"{r['cell']} ({r['against']['need']})" for r in rows if r["against"] and r["against"]["need"]],
        ),
        _listed("Not finished", [r["cell"] for r in rows if r["mean"] is None]),
    ]
    return ". ".join(filter(None, parts)) + "."


def _listed(head: str, names: Sequence[str]) -> str:
    return f"{head}: {'; '.join(names)}" if names else ""


def _told(rows: Sequence[dict[str, Any]]) -> str:
    """The best of what is better than the baseline; else what is worse."""
    name = rows[0]["cell"]
    by: dict[str, list[dict[str, Any]]] = {"better": [], "worse": [], "cannot tell yet": []}
    for r in rows[1:]:
        if r["against"]:
            by[r["against"]["verdict"]].append(r)
    if by["better"]:
        best, *others = sorted(by["better"], key=lambda r: r["against"]["value"])
        too = f"; better too: {', '.join(r['cell'] for r in others)}" if others else ""
        return f"{best['cell']} is better than {name}: {_span(best['against'])}{too}"
    if by["worse"]:
        return f"Nothing is better than {name}; worse: {', '.join(r['cell'] + ' ' + _span(r['against']) for r in by['worse'])}"
    return f"No difference from {name} can be told yet"


def _of_repeats(s: dict[str, Any]) -> str:
    if s["sd"] is None:
        return "One seed says nothing of stability: at least 2, better 5."
    span = f"SD {s['sd']:.4f} [{s['low']:.4f}, {s['high']:.4f}] nats/token, range {s['share']:.1%} of the mean"
    words = {"stable": "Stable", "not stable": "Not stable", "cannot tell yet": "Cannot tell yet whether it is stable"}
    return f"{words[s['verdict']]} over {s['seeds']} seeds by the rule of {effects.RULE:.0%}: {span}."


def _span(a: dict[str, Any]) -> str:
    bounds = f" [{a['low']:+.3f}, {a['high']:+.3f}]" if a["low"] is not None else ""
    return f"{a['value']:+.3f}{bounds} nats/token"
