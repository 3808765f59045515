"""Which examples a run's updates came from, over time and by example. Takes stored updates and steps, gives plain
data. Pure.

Noise scale, consensus and shares per update come from run/gradient_shares.py; here they are smoothed, counted and
ranked. An example's history (2009.10795): confidence = mean p over its visits, variability = its SD, forgetting =
known once, not the next time (1812.05159).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

SMOOTH = 0.95  # of the running means of signal and noise; each alone, and only then divided
LARGE = 5.0  # times its fair share, from which on a gradient dominates an update
AGAIN = 2  # such updates make a dominator

Update = Mapping[str, Any]


def summary(updates: Sequence[Update], steps: Sequence[Mapping[str, Any]], max_grad_norm: float) -> dict[str, Any]:
    """Everything `trimtab gradient-shares` shows but the examples' texts."""
    known = [{"step": u["step"], **u["gradient_shares"]} for u in updates]
    agreed = [u for u in known if "shares" in u]
    norms = [s["grad_norm"] for s in steps if s["grad_norm"] is not None]
    every = histories(known)
    return {
        "updates": len(known),
        "told_apart": len(agreed),
        "grouped": max((max(u["sizes"]) for u in agreed), default=0),
        "series": _series(agreed),
        "clip_rate": sum(n > max_grad_norm for n in norms) / len(norms) if norms and max_grad_norm else None,
        "moved": [{"step": u["step"], "ratio": u["moved"]} for u in known if u.get("moved")],
        "dominators": _dominators(agreed),
        "examples": every,
        "suspects": suspects(every),
    }


ENOUGH = 8  # gradients told apart, from which on one that is half of an update stands out


def tops(updates: Sequence[Update]) -> list[float]:
    """The largest share in each update in which enough gradients were told apart: of two, one always has half and
    more."""
    return [min(1.0, max(u["shares"])) for u in updates if len(u.get("shares", ())) >= ENOUGH]


def histories(updates: Sequence[Update]) -> list[dict[str, Any]]:
    """One row an example: visits, confidence, variability, forgetting, first and last loss."""
    visits: dict[int, list[Mapping[str, Any]]] = {}
    for update in updates:
        for example in update["examples"]:
            visits.setdefault(example["id"], []).append(example)
    return [_history(i, seen) for i, seen in sorted(visits.items())]


def _history(i: int, seen: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    sure = [math.exp(-v["loss"]) for v in seen]
    known = [v["known"] for v in seen]
    return {
        "id": i,
        "visits": len(seen),
        "confidence": statistics.fmean(sure),
        "variability": statistics.pstdev(sure),
        "forgotten": sum(a and not b for a, b in pairwise(known)),
        "known": known[-1],
        "loss": [seen[0]["loss"], seen[-1]["loss"]],
        "later": statistics.fmean(v["loss"] for v in seen[1:] or seen),
        "weight": seen[0]["weight"],
    }


ALIKE, LEAST = 25, 0.05  # examples of about the same length; nats below which a loss is as good as none


def suspects(every: Sequence[Mapping[str, Any]], share: float = 0.1) -> list[int]:
    """The tenth of the examples that, seen again, stayed unlikely for answers of their length: wrong ones are among
    them, if there are any. By length, since free text is always less likely than a label."""
    again = sorted((e for e in every if e["visits"] > 1), key=lambda e: (e["weight"], e["id"]))
    losses = [e["later"] for e in again]
    odd = {}
    for place, e in enumerate(again):
        start = max(0, min(place - ALIKE // 2, len(again) - ALIKE))
        odd[e["id"]] = e["later"] / max(LEAST, statistics.median(losses[start : start + ALIKE]))
    return sorted(odd, key=lambda i: -odd[i])[: math.ceil(share * len(again))]


def _series(agreed: Sequence[Update]) -> list[dict[str, Any]]:
    series, signal, noise = [], 0.0, 0.0
    for n, u in enumerate(agreed, 1):
        signal, noise = (SMOOTH * old + (1 - SMOOTH) * u[k] for old, k in ((signal, "signal"), (noise, "noise")))
        known = signal / (1 - SMOOTH**n) > 0
        positive = [max(0.0, v) for v in u["shares"]]
        series.append({
            "step": u["step"], "consensus": u["consensus"], "gradients": len(u["shares"]),
            "effective": sum(positive) ** 2 / max(1e-300, sum(v * v for v in positive)), "largest": max(u["shares"]),
            "largest_adam": max(u["shares_adam"]) if "shares_adam" in u else None,
            "noise_scale": noise / signal if known else None,
        })  # fmt: skip
    return series


def _dominators(agreed: Sequence[Update]) -> list[dict[str, Any]]:
    """Micro-batches whose share was large again and again, by the sum of their shares; their examples by id."""
    large: dict[tuple[int, ...], list[float]] = {}
    for u in agreed:
        ids, start = [e["id"] for e in u["examples"]], 0
        adam = u.get("shares_adam") or u["shares"]
        for size, share, corrected in zip(u["sizes"], u["shares"], adam, strict=True):
            members, start = tuple(sorted(ids[start : start + size])), start + size
            if min(share, corrected) > _large(len(u["shares"])):
                large.setdefault(members, []).append(share)
    again = sorted((p for p in large.items() if len(p[1]) >= AGAIN), key=lambda p: -sum(p[1]))
    return [{"ids": list(ids), "times": len(v), "share": statistics.fmean(v)} for ids, v in again[:20]]


def _large(gradients: int) -> float:
    """Five fair shares; of few gradients, half the update."""
    return min(LARGE / gradients, max(0.5, 2 / gradients))
