"""How much would turn an open verdict into an answer. Takes a number, its interval and limit, gives words. Pure."""

from __future__ import annotations

import math

from trimtab.analysis import stats
from trimtab.analysis.stats import Interval
from trimtab.probes.prompts import fact_questions, forms, generic_prompts, requests
from trimtab.spec.budget import Budget, Limit
from trimtab.spec.budget_check import Z, fewest_items
from trimtab.spec.numbers import CHANGE, Number, number_of

SEEDS = "seeds: this many items would not settle it, the number lies on the limit"
MOST = 10_000
POWER, SURE = 0.842, 1.645  # four times in five, 19 times in 20
ASKED_MORE = ("kl_generic", "length_ratio", "assertiveness", "degeneration")  # of generic prompts alone: --prompts


def to_decide(n: Number, interval: Interval | None, limit: Limit, why: str | None = None) -> str:
    """As in "about 240 prompts, four times in five: --prompts 240"; on the limit itself, more seeds; of what was not
    measured, why, and how it is."""
    if interval is None:
        return why or "not asked: --level card asks everything"
    if n.group in ("style", "format") and n.unit == "share":
        return _for_a_share(n, interval, limit)
    edges = [e for e in (limit.max, limit.min) if e is not None]
    gap = min(abs(interval.value - e) for e in edges)
    half = max(interval.above - interval.value, interval.value - interval.below)
    if not math.isfinite(half):
        return f"more {n.items}"
    need = items_needed(half, gap, interval.n, n.unit == CHANGE)
    if need is None:
        return SEEDS if gap < half / 10 else f"more than {MOST:,} {n.items}: the limit is nearer than so many can tell"
    more = f": --prompts {need}" if n.key in ASKED_MORE and need <= len(generic_prompts()) else ""
    return f"about {need:,} {n.items}, four times in five{more}"


def too_few(budget: Budget) -> list[str]:
    """Limits that a card has too few items for, even of a model that nothing was done to."""
    problems = []
    for key, count in _asked().items():
        limit = budget.limits.get(key)
        need = fewest_items(limit) if limit else 1
        if limit and (need is None or need > count):
            many = f"{need:,}" if need else "more than any number of"
            problems.append(
                f"limits.{key}: {limit.text()} takes {many} {number_of(key).items} to show even of a model that nothing"
                f" was done to, and a card asks {count}; give a wider limit"
            )
    return problems


def _asked() -> dict[str, int]:
    """Items of those numbers of a whole card that are changes of a share; as many in either language."""
    facts = len(fact_questions())
    return {
        "refusal": len(requests("refusable")), "over_refusal": len(requests("alarming")),
        "format_obeyed": len(forms().items), "unhedged_wrong": min(100, facts), "facts_lost": facts,
        "confident_wrong": facts, "fragility": facts,
    }  # fmt: skip


def items_needed(half: float, gap: float, n: int, of_shares: bool) -> int | None:
    """Items with which a one-sided 95 % bound clears the limit in four of five draws, if the number stays where it is.

    `half` is the bound's distance from the number with `n` items, `gap` the limit's. Changes of shares have Tango's
    bound, which is z²/n wide where no two items differ: about z²/2n + z √(v/n + z²/4n²). None above 10,000.
    """
    least = Z * Z / (2 * n) if of_shares else 0.0
    variance = max(0.0, ((half - least) ** 2 - least**2) * n / (Z * Z))
    return _fewest(variance, gap, n, of_shares)


def items_to_show(share: float, limit: float) -> int | None:
    """Answers with which a model that broke this share of them, and mended none, is shown to keep the limit, 19 times
    in 20: the other limits have to pass as well."""
    return _fewest(share, limit - share, 1, True, SURE)


def _fewest(variance: float, gap: float, n: int, of_shares: bool, power: float = POWER) -> int | None:
    """The smallest number above `n`; None above 10,000."""

    def enough(count: int) -> bool:
        floor = Z * Z / (2 * count) if of_shares else 0.0
        bound = floor + math.sqrt(Z * Z * variance / count + floor**2)
        return bound + power * math.sqrt(variance / count) <= gap

    if gap <= 0 or not enough(MOST):
        return None
    low, high = n, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _for_a_share(n: Number, interval: Interval, limit: Limit) -> str:
    """By exact bounds: a share with no bad item at all needs a number of items by the rule of three."""
    allowed = limit.max if limit.max is not None else 1 - (limit.min or 0)
    bad = interval.value if limit.max is not None else 1 - interval.value
    if bad >= allowed:
        return f"more {n.items}, or other settings: it lies outside, though not certainly"
    for count in (50, 100, 200, 300, 500, 1000, 3000):
        seen = stats.share(round(bad * count), count)
        if seen and seen.above <= allowed:
            return f"about {count} {n.items} at this rate"
    return SEEDS
