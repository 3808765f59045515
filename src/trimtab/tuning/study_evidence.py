"""What the stored runs of a study say beyond their result: shares by setting, curves by rung, the next run that
would say more.

Takes a store and a study, gives plain data for tables, pages and pictures. Trains nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from trimtab.analysis import attribution
from trimtab.analysis.number_intervals import unit_of
from trimtab.errors import StoreError
from trimtab.planning import design as designs
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Status
from trimtab.spec.words import words_of
from trimtab.store import RunRow, Store, StudyRow
from trimtab.store.rows import best_of

LEAST = 4  # runs that anything can be attributed with
# Not settings but how a batch is carried out, and what repeats a run.
_PARTS = ("per_device_train_batch_size", "gradient_accumulation_steps", "seed")


def of_study(store: Store, result: Mapping[str, Any]) -> dict[str, Any]:
    """{"attribution", "next", "curves"} of a study's runs."""
    study = store.study(result["study"])
    try:
        made = attributed(store, study)
    except StoreError:
        made = {"rows": [], "next": []}
    return {"attribution": made["rows"], "next": made["next"], "curves": curves(store, study)}


def attributed(store: Store, study: StudyRow) -> dict[str, Any]:
    """{"study", "settings", "rows", "next"}: a row for the loss, each pulse and each card number that every complete
    run has."""
    runs = [r for r in store.runs(study.id) if r.status == Status.COMPLETE and store.evaluations(r.id)]
    if len(runs) < LEAST:
        raise StoreError(
            f"{study.id} has {len(runs)} complete runs; at least {LEAST}, of two settings or more, are needed to"
            " attribute anything"
        )
    ways = varied([r.recipe for r in runs])
    numbers = [numbers_of(store, r) for r in runs]
    loss_unit = words_of(runs[0].recipe.task).unit
    made = {}
    for key in dict.fromkeys(k for n in numbers for k in n):
        there = [i for i, n in enumerate(numbers) if key in n]  # a number may be missing where a card was not measured
        if len(there) >= LEAST and any(ways[i] != ways[there[0]] for i in there):
            made[key] = attribution.attribute([ways[i] for i in there], [numbers[i][key] for i in there])
    rows = []
    for (key, of), q in zip(made.items(), attribution.discoveries(list(made.values())), strict=True):
        unit = unit_of(key, loss_unit)
        told = attribution.sentence(of, key, unit, q)
        rows.append({"number": key, "unit": unit, **asdict(of), "q": list(q), "sentence": told})
    return {"study": study.id, "settings": list(ways[0]), "rows": rows, "next": attribution.breaking(ways)}


def varied(recipes: Sequence[Recipe]) -> list[dict[str, Any]]:
    """Of each recipe what differs among them; micro-batch and accumulation as the effective batch."""
    whole = [
        {k: v for k, v in r.model_dump().items() if k not in _PARTS} | {designs.EFFECTIVE: r.effective_batch}
        for r in recipes
    ]
    return [{k: w[k] for k in whole[0] if any(x[k] != whole[0][k] for x in whole)} for w in whole]


def numbers_of(store: Store, run: RunRow) -> dict[str, float]:
    """A run's best evaluation, the pulse there, its task numbers and, where one was measured, its card."""
    best = best_of(store.evaluations(run.id))
    assert best is not None
    pulse = {k: statistics.fmean(v) for k, v in best["pulse"].items() if v and k != "score"}
    sure, right = pulse.get("sure"), pulse.get("right")
    surer = {"sure minus right": sure - right} if sure is not None and right is not None else {}
    task = {k: statistics.fmean(v) for k, v in (run.result.get("task") or {}).items() if v}
    card = store.card(run.id)
    rows = card["judged"].get("rows", []) if card else []
    return {
        "validation loss": best["loss"],
        **pulse,
        **surer,
        **task,
        **{r["number"]: r["value"] for r in rows if r["value"] is not None},
    }


def curves(store: Store, study: StudyRow) -> list[dict[str, Any]]:
    """By recipe, its seeds together: {"name", "points": [{"share", "mean", "low", "high", "seeds"}]}; low and high
    over seeds."""
    by: dict[str, list[RunRow]] = {}
    for run in store.runs(study.id):
        by.setdefault(run.recipe.hash, []).append(run)
    ways = varied([rows[0].recipe for rows in by.values()]) if by else []
    by_cell = []
    for way, rows in zip(ways, by.values(), strict=True):
        rungs: dict[float, list[float]] = {}
        for run in rows:
            for e in store.evaluations(run.id):
                rungs.setdefault(e["share"], []).append(e["loss"])
        points = [
            {"share": s, "mean": statistics.fmean(v), "low": min(v), "high": max(v), "seeds": len(v)}
            for s, v in sorted(rungs.items())
        ]
        by_cell.append({"name": designs.Cell(way, rows[0].recipe).name, "points": points})
    return by_cell
