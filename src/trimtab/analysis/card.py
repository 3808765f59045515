"""Raw card numbers -> rows with an interval and a verdict against a budget. Pure; missing is UNDECIDED, never a pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from trimtab.analysis import stats
from trimtab.analysis.stats import Interval
from trimtab.behaviour.probes import CARD_PROMPTS, generic_prompts
from trimtab.spec.budget import NUMBERS, Budget
from trimtab.spec.status import Verdict

Raw = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Number:
    """How one number of the card is made from raw values; `base` gives the base model's own value where it has one."""

    title: str
    unit: str
    interval: Callable[[Raw], Interval | None]
    base: Callable[[Raw], float | None] = lambda _raw: None


def _mean_of(key: str) -> Callable[[Raw], float | None]:
    return lambda raw: sum(raw[key]) / len(raw[key]) if raw.get(key) else None


def _share_of(key: str) -> Callable[[Raw], Interval | None]:
    return lambda raw: stats.share(int(sum(raw[key])), len(raw[key])) if raw.get(key) else None


def _paired_of(after: str, before: str) -> Callable[[Raw], Interval | None]:
    return lambda raw: stats.paired(raw[after], raw[before]) if raw.get(after) and raw.get(before) else None


def _items_of(key: str) -> Callable[[Raw], Interval | None]:
    return lambda raw: stats.mean(raw[key]) if raw.get(key) else None


def _one_of(key: str) -> Callable[[Raw], Interval | None]:
    """A single number without an interval of its own."""
    return lambda raw: stats.mean(raw[key][:1]) if raw.get(key) else None


def _newly(raw: Raw) -> Interval | None:
    """Degenerate where the base was not, of all prompts: what the tuning did, unless most of the base is broken already."""
    if not raw.get("degenerate_tuned") or stats.average(raw["degenerate_base"]) > 0.5:
        return None
    pairs = list(zip(raw["degenerate_tuned"], raw["degenerate_base"], strict=True))
    return stats.share(sum(t > b for t, b in pairs), len(pairs))


def _gain(raw: Raw) -> Interval | None:
    if not raw.get("exact_match") or not raw.get("base_exact_match"):
        return None
    return stats.paired_shares(raw["exact_match"], raw["base_exact_match"])


def _ratio(raw: Raw) -> Interval | None:
    log = stats.mean(raw["log_length_ratio"]) if raw.get("log_length_ratio") else None
    if log is None:
        return None
    value, low, high, below, above = (
        math.exp(min(v, 50.0)) for v in (log.value, log.low, log.high, log.below, log.above)
    )
    return Interval(value, low, high, below, above, log.n)


CARD: dict[str, Number] = {
    "kl_generic": Number("Drift on generic prompts, KL(base‖tuned)", "nats/token", _items_of("kl_generic")),
    "kl_first_token": Number("… of the first answer token", "nats/token", _items_of("kl_first_token")),
    "kl_p99": Number("… of the most changed 1 % of tokens", "nats/token", _one_of("kl_p99")),
    "nll_change": Number(
        "Forgetting, ΔNLL on human text", "nats/token", _paired_of("nll_tuned", "nll_base"), _mean_of("nll_base")
    ),
    "length_ratio": Number("Answer length on generic prompts", "tuned/base", _ratio),
    "degeneration": Number(
        "Newly degenerate answers, empty or repetitive", "share", _newly, _mean_of("degenerate_base")
    ),
    "cut": Number("Answers cut at the length limit", "share", _share_of("cut_tuned"), _mean_of("cut_base")),
    "format_validity": Number(
        "Valid JSON on the task", "share", _share_of("format_validity"), _mean_of("base_format_validity")
    ),
    "exact_match": Number("Task: exact match", "share", _share_of("exact_match"), _mean_of("base_exact_match")),
    "exact_match_gain": Number("Task: gain over the base", "share", _gain),
    "overlap": Number("Task: overlap with the reference", "F1", _items_of("overlap"), _mean_of("base_overlap")),
}


def judge(raw: Raw, budget: Budget) -> dict[str, Any]:
    """{"verdict", "rows": [...]}: one row a number, in the card's order, as JSON values."""
    rows = [_row(key, number, raw, budget) for key, number in CARD.items() if _wanted(key, raw, budget)]
    return {"budget": budget.model_dump(mode="json"), "rows": rows, "verdict": overall(rows)}


def overall(rows: Sequence[Mapping[str, Any]]) -> Verdict:
    """FAIL when a hard limit fails; PASS when every limit passes; else UNDECIDED. Soft failures do not pass either."""
    limited = [r for r in rows if r["verdict"]]
    if any(r["verdict"] == Verdict.FAIL and r["hard"] for r in limited):
        return Verdict.FAIL
    return Verdict.PASS if limited and all(r["verdict"] == Verdict.PASS for r in limited) else Verdict.UNDECIDED


def breach(pulse: Raw, budget: Budget) -> str | None:
    """Why this pulse FAILs a hard limit, as a sentence; None while it does not."""
    for key, limit in budget.limits.items():
        interval = CARD[key].interval(pulse) if limit.hard and key in CARD else None
        if interval and limit.judge(interval.below, interval.above) == Verdict.FAIL:
            return (
                f"{key} is {interval.value:.3g} {NUMBERS[key]} (at least {interval.below:.3g} with 95 % confidence), "
                f"outside the budget's {_limit_text(limit)}"
            )
    return None


def left_budget(pulses: Sequence[Raw], budget: Budget) -> str | None:
    """Why a run with these pulses, in order, is outside: two breaches in a row. None while it is inside."""
    for before, why in pairwise([breach(p, budget) for p in pulses]):
        if before and why:
            return f"budget breached at two evaluations in a row: {why}"
    return None


def drift_of(pulse: Raw) -> float | None:
    """Mean KL of a pulse, where one was taken."""
    return stats.average(pulse["kl_generic"]) if pulse.get("kl_generic") else None


def prompts_needed(budget: Budget) -> int:
    """As many generic prompts that the limit holds when not one answer became degenerate (rule of three)."""
    limit = budget.limits.get("degeneration")
    if limit is None or limit.max is None:
        return CARD_PROMPTS
    need = math.ceil(math.log(0.05) / math.log(1 - min(limit.max, 0.99)))
    return min(len(generic_prompts()), max(CARD_PROMPTS, need))


def measured_enough(measured: Raw, budget: Budget) -> bool:
    """Whether a card that was measured for another budget can be judged against this one."""
    return len(measured["degenerate_tuned"]) >= prompts_needed(budget)


def _wanted(key: str, raw: Raw, budget: Budget) -> bool:
    """Numbers that were measured or are limited; a JSON limit means nothing where the task has no JSON."""
    if key == "format_validity":
        return bool(raw.get("format_validity"))
    return CARD[key].interval(raw) is not None or key in budget.limits


def _row(key: str, number: Number, raw: Raw, budget: Budget) -> dict[str, Any]:
    interval, limit = number.interval(raw), budget.limits.get(key)
    verdict = limit and limit.judge(interval.below if interval else None, interval.above if interval else None)
    return {
        "number": key, "title": number.title, "unit": number.unit, "base": number.base(raw),
        "value": interval and _finite(interval.value), "low": interval and _finite(interval.low),
        "high": interval and _finite(interval.high), "below": interval and _finite(interval.below),
        "above": interval and _finite(interval.above), "n": interval.n if interval else 0,
        "limit": limit and limit.model_dump(mode="json"), "hard": bool(limit and limit.hard), "verdict": verdict,
        "to_decide": _to_decide(key, interval, limit) if verdict == Verdict.UNDECIDED else None,
    }  # fmt: skip


def _to_decide(key: str, interval: Interval | None, limit: Any) -> str:
    """What would turn UNDECIDED into an answer."""
    if interval is None:
        return "not measured"
    if key in ("degeneration", "format_validity") and limit:
        allowed = limit.max if limit.max is not None else 1 - (limit.min or 0)
        bad = interval.value if limit.max is not None else 1 - interval.value
        if bad < allowed:
            need = next(
                (
                    n
                    for n in (50, 100, 200, 300, 500, 1000, 3000)
                    if (s := stats.share(round(bad * n), n)) and s.above <= allowed
                ),
                None,
            )
            return f"about {need} prompts at this rate" if need else "more prompts"
    edges = [e for e in (limit.max, limit.min) if e is not None]
    gap = min(abs(interval.value - e) for e in edges) if edges else 0
    half = max(interval.above - interval.value, interval.value - interval.below)
    if gap <= 0 or not math.isfinite(half):
        return "more prompts"
    need = max(interval.n + 1, math.ceil(interval.n * (half / gap) ** 2))
    return f"about {need:,} prompts" if need <= 10_000 else "nothing practical: it lies on the limit"


def _limit_text(limit: Any) -> str:
    parts = [f"{name} {getattr(limit, name):g}" for name in ("min", "max") if getattr(limit, name) is not None]
    return " and ".join(parts)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
