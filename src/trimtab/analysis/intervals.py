"""How intervals are made from a card's raw values. Each form takes the name of a number and gives a function of all
raw values.

Raw values are lists by name, item by item; a pair ends in _base and _tuned. A form that finds nothing gives None. Of
numbers that are asked until they are known, `tails` says what a look may spend (analysis/looks.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from trimtab.analysis import stats
from trimtab.analysis.stats import FIXED, Interval, Tails
from trimtab.spec.numbers import CLASS

Raw = Mapping[str, Sequence[float]]


class Made(Protocol):
    """A number's interval from all raw values."""

    def __call__(self, raw: Raw, tails: Tails = FIXED, /) -> Interval | None: ...


Value = Callable[[Raw], float | None]


def mean(key: str) -> Value:
    """The mean of the values called `key`; None where there are none."""
    return lambda raw: stats.average(raw[key]) if raw.get(key) else None


def share(key: str) -> Made:
    """Of values that are 0 or 1: their share with exact bounds (Clopper-Pearson)."""
    return lambda raw, tails=FIXED: stats.share(int(sum(raw[key])), len(raw[key]), tails) if raw.get(key) else None


def items(key: str) -> Made:
    """The mean of values by item, with a bootstrap interval."""
    return lambda raw, tails=FIXED: stats.mean(raw[key], tails=tails) if raw.get(key) else None


def items_of_one(key: str) -> Made:
    """Of values between 0 and 1: where all are 0 or all are 1, exact bounds, for items that all agree are no proof."""

    def made(raw: Raw, tails: Tails = FIXED) -> Interval | None:
        values = raw.get(key)
        if not values or set(values) not in ({0.0}, {1.0}):
            return items(key)(raw, tails)
        return stats.share(int(sum(values)), len(values), tails)

    return made


def change(key: str) -> Made:
    """tuned − base of the same items."""
    return lambda raw, tails=FIXED: paired(raw, f"{key}_tuned", f"{key}_base", stats.paired, tails)


def share_change(key: str, sign: int = 1) -> Made:
    """The same for items between 0 and 1; `sign` −1 turns a loss into a positive number."""
    after, before = (f"{key}_tuned", f"{key}_base")[::sign]
    return lambda raw, tails=FIXED: paired(raw, after, before, stats.paired_shares, tails)


def paired(
    raw: Raw,
    after: str,
    before: str,
    make: Callable[[Sequence[float], Sequence[float], Tails], Interval | None],
    tails: Tails,
) -> Interval | None:
    """`make` of the two lists of values; None where one is missing."""
    return make(raw[after], raw[before], tails) if raw.get(after) and raw.get(before) else None


def degenerate_change(raw: Raw, tails: Tails = FIXED) -> Interval | None:
    """What the tuning broke less what it mended, of all prompts; None where most of the base is broken already."""
    if not raw.get("degenerate_tuned") or stats.average(raw["degenerate_base"]) > 0.5:
        return None
    return share_change("degenerate")(raw, tails)


def ratio(key: str) -> Made:
    """exp of a mean log ratio."""

    def made(raw: Raw, tails: Tails = FIXED) -> Interval | None:
        log = stats.mean(raw[key], tails=tails) if raw.get(key) else None
        return log and stats.moved(log, lambda v: math.exp(min(v, 50.0)))

    return made


def medians(key: str) -> Made:
    """Ratio of medians, tuned / base, of rounds taken by turns; the interval is the rounds' own spread."""

    def made(raw: Raw, _tails: Tails = FIXED) -> Interval | None:
        base, tuned = raw.get(f"{key}_base"), raw.get(f"{key}_tuned")
        if not base or not tuned or min(base) <= 0 or min(tuned) <= 0:
            return None
        logs = [math.log(t / b) for t, b in zip(tuned, base, strict=True)]
        log = stats.seeds(logs)
        return log and stats.moved(log, lambda v: math.exp(min(v, 50.0)))

    return made


def overconfident(prefix: str = "") -> Made:
    """Change of (confidence − accuracy): signed, so that its mean has no bias, which the binned error has."""

    def made(raw: Raw, tails: Tails = FIXED) -> Interval | None:
        keys = [f"{prefix}{k}" for k in ("sure_tuned", "right_tuned", "sure_base", "right_base")]
        if not all(raw.get(k) for k in keys):
            return None
        a, b, c, d = (np.asarray(raw[k], dtype=float) for k in keys)
        return stats.mean(list((a - b) - (c - d)), tails=tails)

    return made


def overconfidence(name: str, prefix: str = "") -> Value:
    """Mean confidence − accuracy of one side, "base" or "tuned"."""

    def value(raw: Raw) -> float | None:
        sure, right = raw.get(f"{prefix}sure_{name}"), raw.get(f"{prefix}right_{name}")
        return stats.average(sure) - stats.average(right) if sure and right else None

    return value


def ece(prefix: str = "") -> Made:
    """The change alone: bins of a few dozen items find an error of a few points in a calibrated model, so no
    interval is honest."""

    def made(raw: Raw, _tails: Tails = FIXED) -> Interval | None:
        base, tuned = ece_of("base", prefix)(raw), ece_of("tuned", prefix)(raw)
        return None if base is None or tuned is None else stats.mean([tuned - base])

    return made


def calibration_error(sure: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Σ (share of items in the bin) · |mean confidence − accuracy|. Bins of equal mass: libraries' bins of equal width
    leave one or two items in most of them here."""
    order = np.argsort(sure, kind="stable")
    parts = [p for p in np.array_split(order, bins) if p.size]
    return float(sum(p.size * abs(sure[p].mean() - right[p].mean()) for p in parts) / sure.size)


def ece_of(name: str, prefix: str = "") -> Value:
    """Calibration error of one side, ten bins of equal mass."""

    def value(raw: Raw) -> float | None:
        sure, right = raw.get(f"{prefix}sure_{name}"), raw.get(f"{prefix}right_{name}")
        return calibration_error(np.asarray(sure), np.asarray(right)) if sure and right else None

    return value


def top(key: str, q: float = 0.95) -> Made:
    """A high quantile, resampled."""

    def made(raw: Raw, _tails: Tails = FIXED) -> Interval | None:
        return stats.resampled([np.asarray(raw[key])], lambda x: float(np.quantile(x, q))) if raw.get(key) else None

    return made


def auc(raw: Raw, _tails: Tails = FIXED) -> Interval | None:
    """How well EZ scores tell trained from unseen examples: 0.5 where they do not."""
    a, b = raw.get("ez_trained"), raw.get("ez_held_out")
    return stats.auc(a, b) if a and b else None


def gap(raw: Raw, _tails: Tails = FIXED) -> Interval | None:
    """(loss gained on trained examples) − (on held-out ones): what was learned of the examples and not of the task."""
    a, b = raw.get("gain_trained"), raw.get("gain_held_out")
    return stats.difference(a, b) if a and b else None


def gain(raw: Raw, tails: Tails = FIXED) -> Interval | None:
    """Tuned − base, exact match of the same items."""
    return paired(raw, "exact_match", "base_exact_match", stats.paired_shares, tails)


def task_sure_wrong(raw: Raw, tails: Tails = FIXED) -> Interval | None:
    """Change of the share of task answers that are wrong and at least 90 % sure."""
    pair = [sure_wrong(raw, p) for p in ("", "base_")]
    return stats.paired_shares(pair[0], pair[1], tails) if pair[0] and pair[1] else None


def sure_wrong(raw: Raw, prefix: str) -> list[float] | None:
    """1 for each item that is wrong and at least 90 % sure; `prefix` "base_" for the base's answers."""
    sure, right = raw.get(f"{prefix}sure"), raw.get(f"{prefix}exact_match")
    return [float(s >= 0.9 and not r) for s, r in zip(sure, right, strict=True)] if sure and right else None


def task_value(prefix: str) -> Value:
    """The share of those, of one side."""

    def value(raw: Raw) -> float | None:
        wrongs = sure_wrong(raw, prefix)
        return stats.average(wrongs) if wrongs else None

    return value


def worst_class(raw: Raw, _tails: Tails = FIXED) -> Interval | None:
    """Recall of the label that lost most: bounds that hold for all labels at once."""
    names = sorted(k.removesuffix("_tuned") for k in raw if k.startswith(CLASS) and k.endswith("_tuned"))
    pairs = [(raw[f"{n}_tuned"], raw.get(f"{n}_base")) for n in names]
    return stats.lowest([(a, b) for a, b in pairs if b])
