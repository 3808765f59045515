"""A search space: which settings, between which values. Takes a YAML file or a plan's ranges, gives dimensions;
samples nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimtab.errors import SpecError, did_you_mean
from trimtab.planning.design import EFFECTIVE, wrong
from trimtab.planning.setting import Setting
from trimtab.spec.recipe import Recipe
from trimtab.spec.yaml_file import read_mapping

SEARCHED = ("learning_rate", EFFECTIVE, "r", "weight_decay")  # where nobody says what: those that cost no more steps
FORM = "give a list of values, or {low: …, high: …, log: true}"


@dataclass(frozen=True)
class Dimension:
    """Either `values`, or a range from `low` to `high` (whole numbers where both are), on a logarithmic scale or
    not."""

    name: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def ends(self) -> tuple[Any, ...]:
        return self.values or (self.low, self.high)


def read_space(path: str | Path, base: Recipe) -> tuple[Dimension, ...]:
    """Every problem of the file in one SpecError."""
    dimensions, problems = [], []
    for name, given in read_mapping(Path(path)).items():
        try:
            dimension = _dimension(name, given)
        except ValueError as error:
            problems.append(f"{name}: {error}")
            continue
        problems += [p for value in dimension.ends() for p in wrong(base, {name: value})]
        dimensions.append(dimension)
    if problems:
        raise SpecError(str(path), list(dict.fromkeys(problems)))
    return tuple(dimensions)


def _dimension(name: str, given: Any) -> Dimension:
    if isinstance(given, list) and given:
        return Dimension(name, values=tuple(given))
    if not isinstance(given, Mapping) or not {"low", "high"} <= set(given):
        raise ValueError(f"got {given!r}; {FORM}")
    known = ("low", "high", "log")
    if odd := [k for k in given if k not in known]:
        raise ValueError(f'unknown key "{odd[0]}"{did_you_mean(odd[0], known)}; {FORM}')
    low, high, log = _number(given["low"]), _number(given["high"]), bool(given.get("log", False))
    if not low < high:
        raise ValueError(f"got low {low:g} and high {high:g}; low must be below high")
    if log and low <= 0:
        raise ValueError(f"got low {low:g} on a logarithmic scale; it must be above 0")
    return Dimension(name, low=low, high=high, log=log)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError(f"got {value!r}; {FORM}")
    return value if isinstance(value, int) else float(value)


def of_plan(settings: Mapping[str, Setting], base: Recipe) -> tuple[Dimension, ...]:
    """The plan's ranges of the settings that cost no more steps, logarithmic where they span a factor of three."""
    dimensions = []
    for name in SEARCHED:
        span = settings[name].range if name in settings else None
        if span is None or span[0] >= span[1] or (name == "r" and base.method == "full"):
            continue
        low, high = span
        if name in (EFFECTIVE, "r"):
            values = tuple(2**i for i in range(12) if low <= 2**i <= high)
            dimensions += [Dimension(name, values=values)] if len(values) > 1 else []
        else:
            dimensions.append(Dimension(name, low=float(low), high=float(high), log=low > 0 and high / low >= 3))
    return tuple(dimensions)
