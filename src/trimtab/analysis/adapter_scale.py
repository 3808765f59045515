"""What each share of an update brings and costs. Takes measurements at several scales of one adapter, gives data and
a sentence. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.analysis import stats
from trimtab.analysis.card import judge
from trimtab.spec.budget import Budget
from trimtab.spec.status import Verdict


def scales(points: Sequence[Mapping[str, Any]], budget: Budget) -> dict[str, Any]:
    """`points`: {"scale", "items" (held-out nats/token, the same examples in each), "measured"}, by scale, 0 and 1
    among them."""
    full = next(p for p in points if p["scale"] == 1.0)
    rows = [_row(p, full, budget) for p in points]
    return {"budget": budget.name, "rows": rows, "sentence": _sentence(rows)}


def _row(point: Mapping[str, Any], full: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    judged = judge(point["measured"], budget)
    gap = stats.paired(point["items"], full["items"])
    return {
        "scale": point["scale"],
        "loss": stats.average(point["items"]),
        "against_full": gap and vars(gap),
        "numbers": {
            r["number"]: {k: r[k] for k in ("value", "below", "above", "verdict", "hard", "unit", "title")}
            for r in judged["rows"]
        },
        "outside": [r["number"] for r in judged["rows"] if r["verdict"] == Verdict.FAIL],
    }


def _sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """The smallest part of the update that keeps nearly all of the gain, and the largest that stays inside the
    budget."""
    none, full = (next(r for r in rows if r["scale"] == s) for s in (0.0, 1.0))
    gained = none["loss"] - full["loss"]
    if gained <= 0:
        return "The update gained nothing on the held-out examples, so no part of it can keep the gain."
    share = {r["scale"]: (none["loss"] - r["loss"]) / gained for r in rows}
    enough = min(s for s, part in share.items() if s > 0 and part >= 0.9)
    best = max(rows, key=lambda r: share[r["scale"]])
    inside = [r["scale"] for r in rows if not r["outside"] and r["scale"] > 0]
    kept = f"{enough:g} of the update keeps {share[enough]:.0%} of the gain in held-out loss"
    if best["scale"] > 1 and best["loss"] < full["loss"]:
        kept += f"; more than all of it ({best['scale']:g}) would still gain"
    if full["outside"]:
        limit = f"up to {max(inside):g} no limit is broken" if inside else "every part that was tried breaks a limit"
        return f"{kept}. All of it breaks {', '.join(full['outside'])}; {limit}."
    return f"{kept}. All of it breaks no limit that a pulse can see."
