"""Stored runs as the ones who decide see them: which are still to train, which can train together, what became of
them. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from trimtab.analysis.card import drift_of, left_budget
from trimtab.analysis.stats import by_group
from trimtab.errors import Stopped
from trimtab.spec.budget import Budget
from trimtab.spec.recipe import Recipe, can_share_base
from trimtab.spec.status import Cause, Status
from trimtab.spec.words import words_of
from trimtab.store import RunRow, Store
from trimtab.store.folder import typed
from trimtab.store.rows import best_of
from trimtab.tuning.choice import Outcome

TOGETHER = 8  # members of one cohort: beyond that a step is as long as its members one after another


def outcome(store: Store, run: RunRow, budget: Budget = Budget()) -> Outcome:
    """A stored run as the chooser sees it: its best evaluation, judged against the budget of today."""
    evaluations = store.evaluations(run.id)
    best = best_of(evaluations)
    drift = drift_of(best["pulse"], words_of(run.recipe.task)) if best else None
    cause = run.result.get("cause")
    broke = run.reason if cause == Cause.GUARD else left_budget([e["pulse"] for e in evaluations], budget)
    groups = groups_of(run, "validation")
    loss, items = (best["loss"], tuple(by_group(best["items"], groups))) if best else (float("inf"), ())
    history = {e["share"]: tuple(by_group(e["items"], groups)) for e in evaluations}
    return Outcome(run.recipe, run.status, loss, items, drift, broke, cause and Cause(cause), history)


def groups_of(run: RunRow, side: str) -> list[int] | None:
    """Of each item of validation or test, which near copies it belongs to; None where all are apart."""
    groups: list[int] | None = run.result.get("groups", {}).get(side)
    return groups


def is_due(store: Store, row: RunRow, budget: Budget, reopen: bool) -> bool:
    """Unfinished, or ended for a reason that does not hold any more (another budget, no limit, an error of another
    day)."""
    cause = row.result.get("cause")
    if (
        not row.status.is_finished()
        or cause in (Cause.LIMIT, Cause.ASKED, Cause.ERROR)
        or (cause == Cause.RACE and reopen)
    ):
        return True
    return cause == Cause.BUDGET and outcome(store, row, budget).breach is None


def cohorts(rows: Sequence[RunRow], most: int = TOGETHER) -> dict[str, list[Recipe]]:
    """By name: runs that go on under the cohort they began in; of the new ones, compatible LoRA runs together, at
    most `most`."""
    by_model: dict[str, list[Recipe]] = {}
    for row in rows:
        if row.cohort:
            by_model.setdefault(row.cohort, []).append(row.recipe)
    new = together([r.recipe for r in rows if not r.cohort], most)
    return by_model | {hashlib.sha256(" ".join(r.run_id for r in g).encode()).hexdigest()[:10]: g for g in new}


def together(recipes: Sequence[Recipe], most: int = TOGETHER) -> list[list[Recipe]]:
    """Groups that can share one base in one pass."""
    groups: list[list[Recipe]] = []
    for recipe in recipes:
        # shares of one adapter stay together: two workers must not train the same run
        same = next((g for g in groups if any(o.whole == recipe.whole for o in g)), None)
        home = same or next((g for g in groups if len(g) < most and can_share_base(g[0], recipe)), None)
        if home:
            home.append(recipe)
        else:
            groups.append([recipe])
    return groups


def give_up(store: Store, study: str | None, runs: Sequence[str], why: str) -> None:
    """These runs failed, and why; one that had ended before its job broke keeps its end."""
    for run in runs:
        if not store.run(run).status.is_finished():
            store.update_run(run, status=Status.FAILED, reason=why, result={"cause": Cause.ERROR})
            store.log_event("failed", why, study=study, run=run)


def raise_if_stopped(store: Store, study: str | None) -> None:
    """Raises Stopped where somebody asked the study to stop: whoever decides must not go on with half of its runs."""
    if study and store.study(study).status == Status.STOPPED:
        raise Stopped(
            f"{study} was stopped on request; what was trained is kept. Go on with:"
            f" {typed('study resume', study, store.folder)}"
        )
