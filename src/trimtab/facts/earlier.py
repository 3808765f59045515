"""Earlier studies of a folder on the same model: what they ended in, and how much that says about these data. Takes
a store, gives rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trimtab.datasets.similarity import difference
from trimtab.spec.progress import Say, silent
from trimtab.spec.study import TuneFacts

if TYPE_CHECKING:
    from trimtab.store import Store, StudyRow

WORDS = {"same": "like these", "note": "somewhat different", "warn": "different", "different task": "another task",
         "too few to tell": "too few to compare"}  # fmt: skip


def alike(store: Store, model: str, profile: Mapping[str, Any], but: str | None = None) -> list[dict[str, Any]]:
    """Studies with a recommendation for this model, the most alike data first; `but` leaves one out."""
    candidates = [_row(s, profile) for s in store.studies() if s.id != but and _usable(s, model)]
    return sorted(candidates, key=lambda row: row["difference"]["auc"])


def behind(store: Store, recipe_fingerprint: str) -> dict[str, Any] | None:
    """The data fingerprint behind a recipe's own fingerprint, where a study of this folder knows it."""
    profiles = (
        getattr(s.facts, "data_profile", None) for s in store.studies() if s.asked.fingerprint == recipe_fingerprint
    )
    return next((f for f in profiles if f), None)


def _usable(study: StudyRow, model: str) -> bool:
    facts = study.facts
    known = isinstance(facts, TuneFacts) and bool(facts.recommendation) and bool(facts.data_profile)
    return known and study.asked.model == model


def _row(study: StudyRow, profile: Mapping[str, Any]) -> dict[str, Any]:
    asked, facts = study.asked, study.facts
    assert isinstance(facts, TuneFacts)
    ended, known = facts.recommendation or {}, facts.data_profile or {}
    recipe = ended["recipe"]
    row = {
        "study": study.id,
        "data": asked.data,
        "standing": ended["standing"],
        "learning_rate": recipe["learning_rate"],
        "method": recipe["method"],
        "effective_batch": recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"],
        "num_train_epochs": recipe["num_train_epochs"],
        "difference": difference(known, dict(profile)),
    }
    d = row["difference"]
    return row | {
        "sentence": (
            f"{study.id} on {asked.data} ended at learning_rate {recipe['learning_rate']:g}, batch"
            f" {row['effective_batch']} ({ended['standing']}); its data are {WORDS[d['level']]} (told apart with AUC"
            f" {d['auc']:.2f}): {d['trust']}"
        )
    }


def profile_of(data: str, say: Say = silent) -> dict[str, Any]:
    """What kind of data they are: see datasets/similarity.py. DataError where they cannot be read."""
    from trimtab.datasets.formats import to_examples
    from trimtab.datasets.read import read
    from trimtab.datasets.similarity import profile

    source = read(data, say)
    return profile(to_examples(source.rows["train"], source.name)[1])
