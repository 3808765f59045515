"""Trimtab: fine-tuning settings, proved, with what they did to the model. The public names and nothing else.

Loaded when asked for: `trimtab --help` must not wait for a database library.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "Budget": "trimtab.spec.budget",
    "InputError": "trimtab.errors",
    "Recipe": "trimtab.spec.recipe",
    "RunError": "trimtab.errors",
    "TrimtabError": "trimtab.errors",
    "Workload": "trimtab.spec.workload",
    "card": "trimtab.api",
    "compare": "trimtab.api",
    "forecast": "trimtab.api",
    "report": "trimtab.api",
    "runs": "trimtab.api",
    "train": "trimtab.api",
    "tune": "trimtab.api",
}
__all__ = [
    "Budget",
    "InputError",
    "Recipe",
    "RunError",
    "TrimtabError",
    "Workload",
    "card",
    "compare",
    "forecast",
    "report",
    "runs",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'trimtab' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
