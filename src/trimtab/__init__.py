"""Trimtab: fine-tuning settings, proved, with what they did to the model's behaviour. The public names and nothing else."""

from trimtab.api import card, compare, report, runs, train, tune
from trimtab.errors import InputError, RunError, TrimtabError
from trimtab.spec.budget import Budget
from trimtab.spec.recipe import Recipe

__all__ = [
    "Budget",
    "InputError",
    "Recipe",
    "RunError",
    "TrimtabError",
    "card",
    "compare",
    "report",
    "runs",
    "train",
    "tune",
]
