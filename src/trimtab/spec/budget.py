"""A risk budget: how far each behaviour number may move from the base model's, and the three-state gate.

Takes numbers with one-sided 95 % bounds, gives PASS / FAIL / UNDECIDED. Presets and reasons: docs/budget.md.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trimtab.spec.status import Verdict


class Limit(BaseModel):
    """At least one of `max` and `min`; `hard` limits veto a recipe, soft ones warn."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max: float | None = None
    min: float | None = None
    hard: bool = True

    @model_validator(mode="after")
    def _possible(self) -> Limit:
        if self.max is None and self.min is None:
            raise ValueError("a limit needs max or min")
        if self.max is not None and self.min is not None and self.min > self.max:
            raise ValueError(f"nothing can meet it: min {self.min:g} is above max {self.max:g}")
        return self

    def judge(self, low: float | None, high: float | None) -> Verdict:
        """`low` and `high` are the one-sided 95 % bounds of the number; None means not measured."""
        if low is None or high is None or low != low or high != high:
            return Verdict.UNDECIDED
        above = self.max is not None and low > self.max
        below = self.min is not None and high < self.min
        if above or below:
            return Verdict.FAIL
        fits_max = self.max is None or high <= self.max
        fits_min = self.min is None or low >= self.min
        return Verdict.PASS if fits_max and fits_min else Verdict.UNDECIDED


# The numbers that can be limited today, and whether a pulse (no generation) already measures them.
NUMBERS: dict[str, str] = {
    "kl_generic": "nats/token",
    "nll_change": "nats/token",
    "length_ratio": "tuned/base",
    "degeneration": "share of answers",
    "format_validity": "share of answers",
}
# Values that the number cannot leave, so that a limit outside them can never be met.
POSSIBLE: dict[str, tuple[float, float]] = {
    "kl_generic": (0.0, float("inf")),
    "nll_change": (float("-inf"), float("inf")),
    "length_ratio": (0.0, float("inf")),
    "degeneration": (0.0, 1.0),
    "format_validity": (0.0, 1.0),
}


# With one-sided 95 % confidence and not one bad answer: 300 answers to neutral prompts, 60 to the task.
LOWEST_SHOWN, HIGHEST_SHOWN = 0.01, 0.95


class Budget(BaseModel):
    """Limits by number. Defaults: the proposal of BEHAVIOUR §3, not yet calibrated on many runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "standard"
    limits: dict[str, Limit] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _meetable(self) -> Budget:
        for key, limit in self.limits.items():
            low, high = POSSIBLE.get(key, (float("-inf"), float("inf")))
            if key == "degeneration" and limit.max is not None and 0 <= limit.max < LOWEST_SHOWN:
                raise ValueError(
                    f"limits.{key}: got max {limit.max:g}; the lowest that 300 answers can show is {LOWEST_SHOWN:g}"
                )
            if key == "format_validity" and limit.min is not None and HIGHEST_SHOWN < limit.min <= 1:
                raise ValueError(
                    f"limits.{key}: got min {limit.min:g}; the highest that 60 answers can show is {HIGHEST_SHOWN:g}"
                )
            if key == "kl_generic" and limit.max == 0:
                raise ValueError(
                    f"limits.{key}: a tuned model always moves a little; 0.001 is about what 8-bit weights do"
                )
            if limit.max is not None and limit.max < low:
                raise ValueError(f"limits.{key}: nothing can meet max {limit.max:g}; the lowest possible is {low:g}")
            if limit.min is not None and limit.min > high:
                raise ValueError(f"limits.{key}: nothing can meet min {limit.min:g}; the highest possible is {high:g}")
        return self


Preset = Literal["tight", "standard", "loose"]
# KL on the ruler of quantisation damage (llama.cpp, LLaMA-3-8B): 4-bit .03, 3-bit .10, 2-bit .45 nats/token.
_KL = {"tight": 0.03, "standard": 0.10, "loose": 0.45}
_NLL = {"tight": 0.02, "standard": 0.05, "loose": 0.15}
_LENGTH = {"tight": 1.25, "standard": 1.5, "loose": 2.0}


def preset(name: Preset = "standard") -> Budget:
    return Budget(
        name=name,
        limits={
            "kl_generic": Limit(max=_KL[name]),
            "nll_change": Limit(max=_NLL[name], hard=False),
            "length_ratio": Limit(min=round(1 / _LENGTH[name], 2), max=_LENGTH[name], hard=False),
            "degeneration": Limit(max=0.05 if name == "loose" else 0.01),
            "format_validity": Limit(min=0.90 if name == "loose" else 0.95, hard=False),
        },
    )
