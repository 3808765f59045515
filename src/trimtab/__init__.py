"""Trimtab: fine-tuning settings, proved, with what they did to the model. The public names and nothing else.

Loaded when asked for: `trimtab --help` must not wait for a database library. Some verbs have the name of the room that they
come from (tune, plan, data, report): such a room can be called, and is then the verb.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_HOME = {
    "Budget": "trimtab.spec.budget",
    "InputError": "trimtab.errors",
    "Recipe": "trimtab.spec.recipe",
    "RunError": "trimtab.errors",
    "TrimtabError": "trimtab.errors",
    "Workload": "trimtab.spec.workload",
    "budget": "trimtab.api",
    "card": "trimtab.api",
    "compare": "trimtab.api",
    "data": "trimtab.api",
    "dose": "trimtab.api",
    "forecast": "trimtab.api",
    "plan": "trimtab.api",
    "precedents": "trimtab.api",
    "report": "trimtab.api",
    "review": "trimtab.api",
    "runs": "trimtab.api",
    "train": "trimtab.api",
    "tune": "trimtab.api",
    "voices": "trimtab.api",
}
__all__ = [
    "Budget",
    "InputError",
    "Recipe",
    "RunError",
    "TrimtabError",
    "Workload",
    "budget",
    "card",
    "compare",
    "data",
    "dose",
    "forecast",
    "plan",
    "precedents",
    "report",
    "review",
    "runs",
    "train",
    "tune",
    "voices",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'trimtab' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _Room(ModuleType):
    """A subpackage with a verb's name: Python puts it in the verb's place as soon as anything in it is imported."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        name = self.__name__.rsplit(".", 1)[-1]
        return getattr(import_module(_HOME[name]), name)(*args, **options)


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HOME and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
