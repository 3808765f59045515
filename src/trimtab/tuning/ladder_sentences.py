"""What a walk over the remedies found, in sentences that never say more than was measured. Takes rows, gives text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.spec.status import Verdict

Row = Mapping[str, Any]


def start_sentence(run: str, budget: str, row: Row) -> str:
    """Whether the run itself is inside."""
    what = "inside" if row["inside"] else "outside" if row["verdict"] == Verdict.FAIL else "not shown to be inside"
    gain = row["gain"]
    unsure = f" Its own gain at the task is not shown: {_gain(row)}." if not gain or gain["low"] <= 0 else ""
    return f"{run} is {what} {budget}: {_outside(row) or row['verdict']}.{unsure}"


def unmeasurable(row: Row) -> list[str]:
    """Hard limits on numbers that this model or these data do not have, with why: no remedy changes that."""
    lacking = {k: n for k, n in row["numbers"].items() if n["hard"] and n["verdict"] == Verdict.NOT_MEASURED}
    return [f"{k}: {n['missing']}" for k, n in lacking.items() if n.get("missing")]


def rung_sentence(row: Row) -> str:
    """What one step of it gave."""
    inside = [r for r in row["rows"] if r["inside"]]
    if inside:
        best = inside[0]
        kept = f", {best['kept']:.0%} of the gain" if best["kept"] is not None else ""
        return f"{row['title']}: {best['what']} is inside, {_gain(best)}{kept}."
    judged = [r for r in row["rows"] if r["numbers"]]
    if not judged and any(r["run"] for r in row["rows"]):
        return f"{row['title']}: what lies well inside gains nothing at the task, so no card was asked."
    if not judged:
        return f"{row['title']}: nothing lies within half of each limit on the prompts that strengths are set by."
    return f"{row['title']}: {judged[0]['what']} is not inside: {_outside(judged[0])}."


def result_sentence(run: str, budget: str, start: Row, rungs: Sequence[Row], best: Row | None) -> str:
    """What is inside and what it keeps, or what is nearest."""
    if start["inside"]:
        whole = f"{run} is inside {budget} as it is: every hard limit passes"
        return f"{whole}." if best else f"{whole}; no gain at the task is shown, so nothing is recommended."
    if lacking := unmeasurable(start):
        return (
            f"{run} cannot be judged by {budget}, so nothing was tried: {'; '.join(lacking)}. Give a budget without"
            f" {'these limits' if len(lacking) > 1 else 'this limit'}, or another base."
        )
    untried = [r["title"].lower() for r in rungs if r["note"]]
    rest = f" Not tried for lack of time: {', '.join(untried)}." if untried else ""
    if start.get("declines") == 0:
        rest += " The base itself declines nothing that ought to be declined: there are no refusals to keep."
    if best:
        return (
            f"{best['what']} ({best['run']}) is inside {budget}: every hard limit passes on probes that"
            f" set nothing. {_kept_in_words(best)} ({_gain(best)} against {_gain(start)})."
            f"{rest} One seed."
        )
    nearest = [r for r in (start, *(r for rung in rungs for r in rung["rows"])) if r["numbers"]]
    near = min(nearest, key=_far, default=None)
    told = f" Nearest: {near['what']} ({near['run']}), {_outside(near)}{_would_be(near)}." if near else ""
    if rungs and len(untried) == len(rungs):
        return f"There was no time to try anything, so nothing is recommended.{told}{rest}"
    inside = any(r["inside"] for rung in rungs for r in rung["rows"])
    found = (
        "What is inside is not shown to gain at the task" if inside else f"Nothing that was tried is inside {budget}"
    )
    return f"{found}, so nothing is recommended.{told}{_least(start, rungs)}{rest}"


def _least(start: Row, rungs: Sequence[Row]) -> str:
    """Where no remedy was well inside at any share: that only the untouched model is, and what came nearest."""
    rows = [r for rung in rungs for r in rung["rows"]]
    limits = {k: n["limit"] for k, n in start["numbers"].items() if n["hard"]}
    seen = [r for r in rows if any(k in r["side"] for k in limits)]
    if not seen or any(r["run"] for r in rows):
        return ""

    def beyond(row: Row) -> float:
        edges = [(row["side"][k], e) for k, limit in limits.items() if k in row["side"] for e in limit.values() if e]
        return max((value / edge for value, edge in edges), default=math.inf)

    near = min(seen, key=beyond)
    numbers = ", ".join(f"{k} {near['side'][k]:.2g}" for k in limits if k in near["side"])
    return (
        " No share of anything lies within half of each limit on the prompts that strengths are set by: of all that was"
        f" tried only the untouched model keeps this budget. Nearest there: {near['what']} whole, {numbers}."
    )


def _kept_in_words(row: Row) -> str:
    return f"It keeps {row['kept']:.0%} of the gain" if row["kept"] is not None else "The run itself gains nothing"


def _gain(row: Row) -> str:
    g = row["gain"]
    return f"gain {g['value']:+.1%} [{g['low']:+.1%}, {g['high']:+.1%}]" if g else "no gain measured"


def _open(row: Row) -> list[str]:
    return [k for k, n in row["numbers"].items() if n["hard"] and n["verdict"] != Verdict.PASS]


def _outside(row: Row) -> str:
    """The hard limits that it does not keep, as one phrase."""
    words = {Verdict.FAIL: "fails", Verdict.UNDECIDED: "leaves open", Verdict.NOT_MEASURED: "has not measured"}
    told = [f"{words.get(row['numbers'][k]['verdict'], 'misses')} {k}" for k in _open(row)]
    return ", ".join(told)


def _far(row: Row) -> tuple[int, float]:
    """How far from inside: open limits, and by how much of the limit the worst bound lies beyond it."""
    over = [0.0]
    for key in _open(row):
        number = row["numbers"][key]
        for side, bound in (("max", "above"), ("min", "below")):
            edge, value = number["limit"][side], number[bound]
            if edge is not None:
                over.append(math.inf if value is None else abs(value - edge) / max(abs(edge), 1e-9))
    return len(_open(row)), max(over)


def _would_be(row: Row) -> str:
    """The limits that it would have kept, as it was measured; empty where one of them has no bound."""
    told = []
    for key in _open(row):
        number = row["numbers"][key]
        for side, bound, sign in (("max", "above", 1), ("min", "below", -1)):
            if number["limit"][side] is not None:
                if number[bound] is None:
                    return ""
                told.append(f"{key} {side} {_outward(number[bound], sign):g}")
    return f"; it would be inside with {' and '.join(told)}" if told else ""


def _outward(value: float, sign: int) -> float:
    """To two digits, never nearer to zero change than it is."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return round(sign * math.ceil(round(sign * value / step, 6)) * step, 12)
