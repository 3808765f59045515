"""Two runs side by side on the same items. Pure; takes stored rows, gives data with intervals and a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.analysis import stats
from trimtab.analysis.card import drift_of
from trimtab.errors import StoreError
from trimtab.spec.recipe import Recipe
from trimtab.spec.results import Comparison
from trimtab.spec.words import words_of
from trimtab.store.rows import best_of


def compare_runs(
    a: Any, b: Any, evaluations_a: Sequence[Mapping[str, Any]], evaluations_b: Sequence[Mapping[str, Any]]
) -> Comparison:
    """`a`, `b` are stored runs; differences are b − a at each run's best evaluation. StoreError where they cannot be
    compared."""
    for run, rows in ((a, evaluations_a), (b, evaluations_b)):
        if not rows:
            raise StoreError(f"run {run.id} is {run.status} and has not been evaluated yet; nothing to compare")
    best_a, best_b = (best_of(rows) for rows in (evaluations_a, evaluations_b))
    assert best_a is not None
    assert best_b is not None
    if _data_of(a.recipe) != _data_of(b.recipe) or len(best_a["items"]) != len(best_b["items"]):
        raise StoreError(
            f"{a.id} and {b.id} were validated on different items ({a.recipe.data} and {b.recipe.data}); "
            "only runs on the same data can be compared"
        )
    words = words_of(a.recipe.task)
    mine, other = a.recipe.model_dump(), b.recipe.model_dump()
    groups = {side: a.result.get("groups", {}).get(side) for side in ("validation", "test")}
    after, before = (stats.by_group(e["items"], groups["validation"]) for e in (best_b, best_a))
    gap = stats.paired(after, before)
    assert gap is not None
    return {
        "runs": [a.id, b.id],
        "settings": {k: [mine[k], other[k]] for k in mine if mine[k] != other[k]},
        "loss": [best_a["loss"], best_b["loss"]],
        "drift": [drift_of(best_a["pulse"], words), drift_of(best_b["pulse"], words)],
        "words": words.shown(),
        "difference": vars(gap),  # type: ignore[typeddict-item]
        "task": _task(a.result.get("task"), b.result.get("task"), groups["test"]),
        "sentence": _sentence(a.id, b.id, gap, words.unit),
    }


def _data_of(recipe: Recipe) -> str:
    """What was read, whatever the file is called; its name where that is not known."""
    return recipe.fingerprint.split("-")[-1] if recipe.fingerprint else recipe.data


def _task(
    a: Mapping[str, Sequence[float]] | None, b: Mapping[str, Sequence[float]] | None, groups: Sequence[int] | None
) -> dict[str, Any]:
    if not a or not b:
        return {}
    return {
        k: {"values": [sum(a[k]) / len(a[k]), sum(b[k]) / len(b[k])], "difference": vars(gap)}
        for k in a
        if k in b and (gap := stats.paired_shares(stats.by_group(b[k], groups), stats.by_group(a[k], groups)))
    }


def _sentence(a: str, b: str, gap: stats.Interval, unit: str) -> str:
    span = f"{gap.value:+.3f} {unit} [{gap.low:+.3f}, {gap.high:+.3f}] on {gap.n} paired items"
    if gap.high < 0:
        return (
            f"{b} is better than {a}: {span}. One seed each: this says it of these two checkpoints, not of the recipes."
        )
    if gap.low > 0:
        return (
            f"{b} is worse than {a}: {span}. One seed each: this says it of these two checkpoints, not of the recipes."
        )
    return f"{a} and {b} cannot be told apart: {span}."
