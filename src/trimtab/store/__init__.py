"""WHAT HAPPENED: the only SQL. Runs, metrics, evaluations, events, cards, samples and decisions.

Loaded when asked for: `trimtab --help` must not wait for a database library.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trimtab.store.store import RunRow, Store, StudyRow

__all__ = ["RunRow", "Store", "StudyRow"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'trimtab.store' has no attribute {name!r}")
    from trimtab.store import store

    return getattr(store, name)
