"""WHAT HAPPENED: the only SQL. Runs, metrics, evaluations, events, cards, samples and decisions."""

from trimtab.store.store import RunRow, Store, StudyRow

__all__ = ["RunRow", "Store", "StudyRow"]
