"""Earlier studies of a folder on the same model: what they ended in, and how much that says about these data. Takes a store, gives rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trimtab.data.fingerprint import difference

if TYPE_CHECKING:
    from trimtab.store import Store

WORDS = {"same": "like these", "note": "somewhat different", "warn": "different", "different task": "another task",
         "too few to tell": "too few to compare"}  # fmt: skip


def alike(store: Store, model: str, fingerprint: Mapping[str, Any], but: str | None = None) -> list[dict[str, Any]]:
    """Studies with a recommendation for this model, the most alike data first; `but` leaves one out."""
    found = [_row(s.id, s.asked, s.facts, fingerprint) for s in store.studies() if s.id != but and _usable(s, model)]
    return sorted(found, key=lambda row: row["difference"]["auc"])


def behind(store: Store, recipe_fingerprint: str) -> dict[str, Any] | None:
    """The data fingerprint behind a recipe's own fingerprint, where a study of this folder knows it."""
    found = (
        s.facts.get("data_fingerprint") for s in store.studies() if s.asked.get("fingerprint") == recipe_fingerprint
    )
    return next((f for f in found if f), None)


def _usable(study: Any, model: str) -> bool:
    return (
        study.asked.get("model") == model
        and bool(study.facts.get("recommendation"))
        and bool(study.facts.get("data_fingerprint"))
    )


def _row(
    study: str, asked: Mapping[str, Any], facts: Mapping[str, Any], fingerprint: Mapping[str, Any]
) -> dict[str, Any]:
    ended = facts["recommendation"]
    recipe = ended["recipe"]
    row = {
        "study": study, "data": asked["data"], "standing": ended["standing"], "learning_rate": recipe["learning_rate"], "method": recipe["method"],
        "effective_batch": recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"],
        "num_train_epochs": recipe["num_train_epochs"], "difference": difference(facts["data_fingerprint"], dict(fingerprint)),
    }  # fmt: skip
    d = row["difference"]
    return row | {
        "sentence": f"{study} on {asked['data']} ended at learning_rate {recipe['learning_rate']:g}, batch {row['effective_batch']} "
        f"({ended['standing']}); its data are {WORDS[d['level']]} (told apart with AUC {d['auc']:.2f}): {d['trust']}"
    }
