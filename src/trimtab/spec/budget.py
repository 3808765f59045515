"""A risk budget: how far each behaviour number may move from the base model's, and the gate of four states.

Takes numbers with one-sided 95 % bounds, gives PASS / FAIL / UNDECIDED / NOT MEASURED. Presets: docs/budget.md.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trimtab.errors import did_you_mean
from trimtab.spec.numbers import (
    LIMITABLE,
    OPTIONAL,
    OWN,
    PRESETS,
    Preset,
    can_be_limited,
    is_number,
    number_of,
    preset_limits,
)
from trimtab.spec.status import LEVELS, Level, Verdict


class Limit(BaseModel):
    """At least one of `max` and `min`; `hard` limits veto a recipe, soft ones warn. `optional`: does not count where
    the task has no such number (no JSON answers, no labels); the presets' are, a person's own are not."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max: float | None = None
    min: float | None = None
    hard: bool = True
    optional: bool = False

    @model_validator(mode="after")
    def _possible(self) -> Limit:
        if self.max is None and self.min is None:
            raise ValueError("a limit needs max or min")
        if self.max is not None and self.min is not None and self.min > self.max:
            raise ValueError(f"nothing can meet it: min {self.min:g} is above max {self.max:g}")
        return self

    def text(self) -> str:
        """As in "min 0.2 and max 0.5"."""
        return " and ".join(f"{s} {getattr(self, s):g}" for s in ("min", "max") if getattr(self, s) is not None)

    def judge(self, low: float | None, high: float | None) -> Verdict:
        """`low` and `high` are the one-sided 95 % bounds of the number; None means not measured."""
        if low is None or high is None:
            return Verdict.NOT_MEASURED
        if low != low or high != high:
            return Verdict.UNDECIDED
        above = self.max is not None and low > self.max
        below = self.min is not None and high < self.min
        if above or below:
            return Verdict.FAIL
        fits_max = self.max is None or high <= self.max
        fits_min = self.min is None or low >= self.min
        return Verdict.PASS if fits_max and fits_min else Verdict.UNDECIDED


class Budget(BaseModel):
    """Limits by number. Defaults: at least twice the spread over seeds (docs/budget.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "standard"
    limits: dict[str, Limit] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _optional_in_presets(cls, values: Any) -> Any:
        """The one place that says which limits of a preset are optional, also for presets in older stores."""
        if isinstance(values, dict) and values.get("name") in PRESETS:
            limits = {
                k: {"optional": number_of(k).needs in OPTIONAL, **v} if isinstance(v, dict) and is_number(k) else v
                for k, v in (values.get("limits") or {}).items()
            }
            return {**values, "limits": limits}
        return values

    @model_validator(mode="after")
    def _meetable(self) -> Budget:
        for key, limit in self.limits.items():
            if not can_be_limited(key):
                raise ValueError(f'limits: unknown number "{key}"{did_you_mean(key, LIMITABLE)}')
            if problem := _never_met(key, limit) or _never_broken(key, limit):
                raise ValueError(f"limits.{key}: {problem}")
        return self


def level_needed(budget: Budget) -> Level:
    """The cheapest card that asks for everything a hard limit is on. A person's own probes are asked at every level."""
    own = [number_of(k).level for k, limit in budget.limits.items() if limit.hard and not k.startswith(OWN)]
    return max(own, key=LEVELS.index, default="pulse")


def _never_met(key: str, limit: Limit) -> str | None:
    """Why no model could be shown to keep this limit."""
    n = number_of(key)
    low, high = n.bounds or (0, 0)
    if n.tightest is not None and limit.max is not None and low <= limit.max < n.tightest and n.side == "max":
        return f"got max {limit.max:g}; the lowest {n.shown_by} is {n.tightest:g}"
    if n.tightest is not None and limit.min is not None and n.tightest < limit.min <= high and n.side == "min":
        return f"got min {limit.min:g}; the highest {n.shown_by} is {n.tightest:g}"
    if limit.max is not None and limit.max < low:
        return f"nothing can meet max {limit.max:g}; the lowest possible is {low:g}"
    if limit.min is not None and limit.min > high:
        return f"nothing can meet min {limit.min:g}; the highest possible is {high:g}"
    return None


def _never_broken(key: str, limit: Limit) -> str | None:
    low, high = number_of(key).bounds or (0, 0)
    for side, value in (("max", limit.max), ("min", limit.min)):
        if value is not None and (value > high if side == "max" else value < low):
            return (
                f"{side} {value:g} can never be overstepped; values lie between {low:g} and {high:g}, shares are not"
                " per cent"
            )
    return None


def preset(name: Preset = "standard") -> Budget:
    """The limits of a preset."""
    return Budget.model_validate({"name": name, "limits": preset_limits(name)})
