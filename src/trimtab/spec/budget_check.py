"""Whether a budget can be kept at all, asked before anything is trained. Takes a budget and what is known of the model,
the data and a person's probes; gives sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping

from trimtab.errors import did_you_mean
from trimtab.spec.budget import Budget, Limit
from trimtab.spec.numbers import OWN, Number, number_of
from trimtab.spec.status import Verdict

Z = 1.645  # a one-sided 95 % bound of a change of shares, where no two answers differ, is z² / (n + z²)


def never_decided(budget: Budget, lacks: Mapping[str, str], probes: Mapping[str, int], how: str) -> list[str]:
    """Limits that a person wrote and that stay open whatever the model does. `lacks`: what numbers need (numbers.csv)
    and is not there -> why; `probes`: prompts of each of the person's own; `how` to have them asked."""
    problems = on_the_edge(budget)
    for key, limit in budget.limits.items():
        n = number_of(key)
        if n.needs in lacks and not limit.optional:
            problems.append(f"limits.{key}: cannot be measured here: {lacks[n.needs]}; take the limit out")
        if key.startswith(OWN):
            problems += _own(key, limit, probes, how)
    return problems


def on_the_edge(budget: Budget) -> list[str]:
    """Limits that no number of items shows: a model that nothing was done to lies on them, and no model below."""
    problems = []
    for key, limit in budget.limits.items():
        n, value = number_of(key), unchanged(number_of(key))
        lowest = n.bounds[0] if n.bounds else None
        if value is not None and limit.max == value and (lowest == value or n.unit == "AUC"):
            problems.append(
                f"limits.{key}: {limit.text()} can be shown by no number of {n.items}, as a model that nothing was done"
                " to lies there itself; leave some room"
            )
    return problems


def _own(key: str, limit: Limit, probes: Mapping[str, int], how: str) -> list[str]:
    name = key.removeprefix(OWN)
    if name not in probes:
        known = f"the probes are {', '.join(probes)}{did_you_mean(name, list(probes))}" if probes else how
        return [f"limits.{key}: no probe of this name is asked; {known}"]
    fewest = fewest_items(limit)
    if fewest is None:
        return [f"limits.{key}: {limit.text()} can be shown by no number of prompts; leave some room"]
    if probes[name] >= fewest:
        return []
    return [
        f"limits.{key}: {limit.text()} can be shown with {fewest} prompts and more, the probe has {probes[name]};"
        " give it more prompts or a wider limit"
    ]


def fewest_items(limit: Limit) -> int | None:
    """Items with which a change of a share can be shown to keep this limit when not one answer changed; None: none
    are enough."""
    room = min(abs(edge) for edge in (limit.max, limit.min) if edge is not None)
    if room == 0:
        return None
    return math.ceil(Z * Z * (1 / room - 1)) if room < 1 else 1


def broken_untouched(budget: Budget) -> list[str]:
    """Limits that the base model itself is outside of: training would have to move it there."""
    outside = []
    for key, limit in budget.limits.items():
        n, value = number_of(key), unchanged(number_of(key))
        if value is None or limit.judge(value, value) == Verdict.PASS:
            continue
        outside.append(
            f"the base model itself is outside limits.{key}, {limit.text()}: untouched, {n.title} is {value:g}"
        )
    return outside


def unchanged(n: Number) -> float | None:
    """What a number is where nothing was changed; None where that depends on the base."""
    if n.key == "format_validity" or n.group == "process":
        return None
    return {"tuned/base": 1.0, "AUC": 0.5}.get(n.unit, 0.0)
