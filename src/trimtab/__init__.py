"""Trimtab: fine-tuning settings, proved, with what they did to the model. The public names and nothing else.

Loaded when asked for: `trimtab --help` must not wait for a database library. The verbs are the functions of
`trimtab.api`.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trimtab.api.card import adapter_scale, budget, card, gradient_shares
    from trimtab.api.folder import fetch, keep_store, work
    from trimtab.api.forecast import forecast
    from trimtab.api.inside import inside
    from trimtab.api.label_errors import label_errors
    from trimtab.api.plan import data, plan, precedents
    from trimtab.api.predict import predict
    from trimtab.api.results import attribute, compare, export_study, report, runs, studies, study_result
    from trimtab.api.resume import extend_study, resume_study, stop_study
    from trimtab.api.review import label, review, to_label, vote
    from trimtab.api.study import search, study, study_path
    from trimtab.api.tune import explain, train, tune
    from trimtab.errors import InputError, RunError, TrimtabError
    from trimtab.spec.budget import Budget
    from trimtab.spec.options import StudyOptions
    from trimtab.spec.recipe import Recipe
    from trimtab.spec.results import (
        Attribution,
        CardResult,
        Comparison,
        ForecastResult,
        InsideResult,
        PlanResult,
        Recommendation,
        StudyResult,
    )
    from trimtab.spec.workload import Workload

_HOME = {
    "trimtab.api.card": ("adapter_scale", "budget", "card", "gradient_shares"),
    "trimtab.api.folder": ("fetch", "keep_store", "work"),
    "trimtab.api.forecast": ("forecast",),
    "trimtab.api.inside": ("inside",),
    "trimtab.api.label_errors": ("label_errors",),
    "trimtab.api.predict": ("predict",),
    "trimtab.api.plan": ("data", "plan", "precedents"),
    "trimtab.api.results": ("attribute", "compare", "export_study", "report", "runs", "studies", "study_result"),
    "trimtab.api.review": ("label", "review", "to_label", "vote"),
    "trimtab.api.resume": ("extend_study", "resume_study", "stop_study"),
    "trimtab.api.study": ("search", "study", "study_path"),
    "trimtab.api.tune": ("explain", "train", "tune"),
    "trimtab.errors": ("InputError", "RunError", "TrimtabError"),
    "trimtab.spec.budget": ("Budget",),
    "trimtab.spec.options": ("StudyOptions",),
    "trimtab.spec.recipe": ("Recipe",),
    "trimtab.spec.results": (
        "Attribution",
        "CardResult",
        "Comparison",
        "ForecastResult",
        "InsideResult",
        "PlanResult",
        "Recommendation",
        "StudyResult",
    ),
    "trimtab.spec.workload": ("Workload",),
}
_OLD = {"voices": "gradient_shares", "dose": "adapter_scale"}  # for one release
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
__all__ = [
    "Attribution",
    "Budget",
    "CardResult",
    "Comparison",
    "ForecastResult",
    "InputError",
    "InsideResult",
    "PlanResult",
    "Recipe",
    "Recommendation",
    "RunError",
    "StudyOptions",
    "StudyResult",
    "TrimtabError",
    "Workload",
    "adapter_scale",
    "attribute",
    "budget",
    "card",
    "compare",
    "data",
    "explain",
    "export_study",
    "extend_study",
    "fetch",
    "forecast",
    "gradient_shares",
    "inside",
    "keep_store",
    "label",
    "label_errors",
    "plan",
    "precedents",
    "predict",
    "report",
    "resume_study",
    "review",
    "runs",
    "search",
    "stop_study",
    "studies",
    "study",
    "study_path",
    "study_result",
    "to_label",
    "train",
    "tune",
    "vote",
    "work",
]


def __getattr__(name: str) -> Any:
    if name in _OLD:
        warnings.warn(f"trimtab.{name} is called trimtab.{_OLD[name]} now", DeprecationWarning, stacklevel=2)
        name = _OLD[name]
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'trimtab' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
