"""Everything a report shows, as plain data. Takes a store and a study id; draws nothing and measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.analysis.card import drift_of, judge, pulse_limit
from trimtab.analysis.interaction_check import states
from trimtab.forecasting.result import shown_parts
from trimtab.planning.remedies import TITLES as REMEDIES
from trimtab.spec.budget import Budget
from trimtab.spec.recipe import Recipe
from trimtab.spec.study import TuneAsked, TuneFacts
from trimtab.spec.words import words_of
from trimtab.spec.yaml_file import dump
from trimtab.store import RunRow, Store

POINTS = 1000
WHAT_PLACES = {
    "plan": "Where to start",
    "learning_rate": "Learning rate",
    "batch": "Effective batch",
    "epochs": "Epochs",
    "rank": "Rank",
    "decay": "Weight decay",
    "seeds": "Seeds",
    "more seeds": "More seeds",
    "inside: start": "Against the budget",
    **{f"inside: {k}": f"Remedy: {title[0].lower()}{title[1:]}" for k, title in REMEDIES.items()},
    "inside: seeds": "Seeds of what is inside",
    "recommendation": "Recommendation",
}


def study_report(store: Store, study: str) -> dict[str, Any]:
    """Of `trimtab tune`."""
    row = store.study(study)
    asked, facts = row.asked, row.facts
    assert isinstance(asked, TuneAsked)
    assert isinstance(facts, TuneFacts)
    recommended, decisions = facts.recommendation, store.decisions(study)
    run = recommended and recommended["run"]
    budget = asked.budget or Budget()
    card = _judged(store, run, budget) if run else None
    edge = pulse_limit(words_of(asked.task).shown()["drift_key"], budget)
    return {
        "study": study,
        "status": row.status,
        "seconds": row.seconds,
        "asked": asked.model_dump(mode="json"),
        "words": words_of(asked.task).shown(),
        "drift_limit": edge and edge.max,
        "data": facts.data,
        "plan": facts.plan,
        "warnings": facts.warnings or [],
        "risks": _risks(store, recommended, card, facts.couplings or []),
        "earlier": facts.earlier or [],
        "model": facts.facts,
        "steps": [_step(store, d) for d in decisions],
        "recommendation": recommended,
        "sentence": next((d["sentence"] for d in decisions if d["place"] == "recommendation"), None),
        "card": card,
        "epochs": epochs(store, store.run(run)) if run else [],
        "samples": store.samples(run) if run else [],
        "layers": store.run(run).result.get("layers", []) if run else [],
        "recipe_yaml": dump(Recipe.model_validate(recommended["recipe"])) if recommended else None,
        "memory": _memory(store, run) if run else None,
        "runs": [_run(store, r.id) for r in store.runs(study)],
    }


def _judged(store: Store, run: str, budget: Budget) -> dict[str, Any] | None:
    """Evaluation anew, with what people have labelled since; None for a card of a version that measured otherwise."""
    stored = store.card(run)
    if stored is None or "raw" not in stored["measured"]:
        return None
    return judge({**stored["measured"], "labels": store.judgements.labels(run)}, budget)


def _memory(store: Store, run: str) -> dict[str, Any] | None:
    """What the handed-over run was expected to take, and took."""
    forecast = next((f for f in store.forecasts() if f["run"] == run and f["predicted"].get("allocated")), None)
    if forecast is None:
        return None
    predicted, took = forecast["predicted"], forecast["measured"].get("allocated")
    return {**forecast, "parts": shown_parts(predicted), "error": predicted["allocated"] / took - 1 if took else None}


def _risks(
    store: Store, recommended: dict[str, Any] | None, card: dict[str, Any] | None, planned: list[dict[str, Any]]
) -> dict[str, Any]:
    """Risks of the recommended recipe, with whether they were seen; and those that only the start had."""
    if not recommended:
        return {"recommended": [], "start": planned}
    run = recommended["run"]
    named = recommended.get("couplings", [])
    looked_for = states(
        named, card, store.evaluations(run), store.steps(run), store.events(run=run),
        [s["loss"] for s in recommended["seeds"] if s["loss"] is not None],
    )  # fmt: skip
    return {"recommended": looked_for, "start": [c for c in planned if c["id"] not in {n["id"] for n in named}]}


def thin(points: list[tuple[float, float]], most: int = POINTS) -> list[tuple[float, float]]:
    """At most `most` points; of each bucket the lowest and the highest, so that no spike is lost."""
    if len(points) <= most:
        return points
    buckets = most // 2
    kept: list[tuple[float, float]] = []
    for b in range(buckets):
        part = points[b * len(points) // buckets : (b + 1) * len(points) // buckets]
        ends = {min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])}
        kept += sorted(ends)
    return kept


def _step(store: Store, decision: dict[str, Any]) -> dict[str, Any]:
    """A decision with the curves of the runs that it compared."""
    table = decision["evidence"].get("table") or []
    setting = next(
        (
            k
            for k in (table[0] if table else {})
            if k not in ("run", "status", "loss", "drift", "kept", "note", "share", "gap", "low", "high")
        ),
        "",
    )
    curves = [
        {"name": str(row[setting]), "run": row["run"], "kept": row["kept"], **_curve(store, row["run"])}
        for row in table
    ]
    return {
        "place": decision["place"],
        "title": WHAT_PLACES.get(decision["place"], decision["place"]),
        "sentence": decision["sentence"],
        "setting": setting,
        "table": table,
        "curves": curves,
    }


def _curve(store: Store, run: str) -> dict[str, Any]:
    evaluations, steps = store.evaluations(run), store.steps(run)
    words = words_of(store.run(run).recipe.task)
    total = store.run(run).total_steps or max((s["step"] for s in steps), default=1)
    return {
        "validation": [(e["share"], e["loss"]) for e in evaluations],
        "drift": [(e["share"], d) for e in evaluations if (d := drift_of(e["pulse"], words)) is not None],
        "train": thin([(s["step"] / total, s["loss"]) for s in steps if s["loss"] is not None]),
    }


def _run(store: Store, run: str) -> dict[str, Any]:
    row = store.run(run)
    result = {k: v for k, v in row.result.items() if k not in ("answers", "task")}
    return {
        "id": run,
        "recipe": row.recipe.model_dump(mode="json"),
        "status": row.status,
        "reason": row.reason,
        **result,
    }


def epochs(store: Store, row: RunRow) -> list[dict[str, Any]]:
    """Evaluation by evaluation: how sure the run was of held-out answers and how often it was right; loss and drift."""
    return [
        {
            "step": e["step"],
            "share": e["share"],
            "epochs": e["share"] * row.recipe.num_train_epochs,
            "loss": e["loss"],
            "drift": drift_of(e["pulse"], words_of(row.recipe.task)),
            **{k: _mean(e["pulse"], k) for k in ("right", "sure")},
        }
        for e in store.evaluations(row.id)
    ]


def _mean(pulse: Mapping[str, Sequence[float]], key: str) -> float | None:
    return sum(pulse[key]) / len(pulse[key]) if pulse.get(key) else None
