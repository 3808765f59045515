"""Who a run's updates listened to, over time and by example. Takes stored updates and steps, gives plain data. Pure.

Noise scale, consensus and voices per update come from run/voices.py; here they are smoothed, counted and ranked. An
example's history (2009.10795): confidence = mean p over its visits, variability = its SD, forgetting = known once, not the
next time (1812.05159).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

SMOOTH = 0.95  # of the running means of signal and noise; each alone, and only then divided
LOUD = 5.0  # times its fair share, from which on a voice dominates an update
AGAIN = 2  # such updates make a dominator

Update = Mapping[str, Any]


def listened(updates: Sequence[Update], steps: Sequence[Mapping[str, Any]], max_grad_norm: float) -> dict[str, Any]:
    """Everything `trimtab voices` shows but the examples' texts."""
    heard = [{"step": u["step"], **u["heard"]} for u in updates]
    agreed = [u for u in heard if "voices" in u]
    norms = [s["grad_norm"] for s in steps if s["grad_norm"] is not None]
    every = histories(heard)
    return {
        "updates": len(heard),
        "told_apart": len(agreed),
        "grouped": max((max(u["sizes"]) for u in agreed), default=0),
        "series": _series(agreed),
        "clip_rate": sum(n > max_grad_norm for n in norms) / len(norms) if norms and max_grad_norm else None,
        "moved": [{"step": u["step"], "ratio": u["moved"]} for u in heard if u.get("moved")],
        "dominators": _dominators(agreed),
        "examples": every,
        "suspects": suspects(every),
    }


VOICES = 8  # from which on one that holds half of an update stands out


def tops(heard: Sequence[Update]) -> list[float]:
    """The largest voice's share of each update in which enough voices were told apart: of two, one always has half and more."""
    return [min(1.0, max(u["voices"])) for u in heard if len(u.get("voices", ())) >= VOICES]


def histories(heard: Sequence[Update]) -> list[dict[str, Any]]:
    """One row an example: visits, confidence, variability, forgetting, first and last loss."""
    visits: dict[int, list[Mapping[str, Any]]] = {}
    for update in heard:
        for example in update["examples"]:
            visits.setdefault(example["id"], []).append(example)
    return [_history(i, seen) for i, seen in sorted(visits.items())]


def _history(i: int, seen: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    sure = [math.exp(-v["loss"]) for v in seen]
    known = [v["known"] for v in seen]
    return {
        "id": i, "visits": len(seen), "confidence": statistics.fmean(sure), "variability": statistics.pstdev(sure),
        "forgotten": sum(a and not b for a, b in pairwise(known)), "known": known[-1],
        "loss": [seen[0]["loss"], seen[-1]["loss"]], "later": statistics.fmean(v["loss"] for v in seen[1:] or seen), "tokens": seen[0]["tokens"],
    }  # fmt: skip


ALIKE, LEAST = 25, 0.05  # examples of about the same length; nats below which a loss is as good as none


def suspects(every: Sequence[Mapping[str, Any]], share: float = 0.1) -> list[int]:
    """The tenth of the examples that, seen again, stayed unlikely for answers of their length: wrong ones are among them, if
    there are any. By length, since free text is always less likely than a label."""
    again = sorted((e for e in every if e["visits"] > 1), key=lambda e: (e["tokens"], e["id"]))
    losses = [e["later"] for e in again]
    odd = {}
    for place, e in enumerate(again):
        start = max(0, min(place - ALIKE // 2, len(again) - ALIKE))
        odd[e["id"]] = e["later"] / max(LEAST, statistics.median(losses[start : start + ALIKE]))
    return sorted(odd, key=lambda i: -odd[i])[: math.ceil(share * len(again))]


def _series(agreed: Sequence[Update]) -> list[dict[str, Any]]:
    found, signal, noise = [], 0.0, 0.0
    for n, u in enumerate(agreed, 1):
        signal, noise = (SMOOTH * old + (1 - SMOOTH) * u[k] for old, k in ((signal, "signal"), (noise, "noise")))
        known = signal / (1 - SMOOTH**n) > 0
        heard = [max(0.0, v) for v in u["voices"]]
        found.append({
            "step": u["step"], "consensus": u["consensus"], "voices": len(u["voices"]),
            "effective": sum(heard) ** 2 / max(1e-300, sum(v * v for v in heard)), "largest": max(u["voices"]),
            "largest_adam": max(u["voices_adam"]) if "voices_adam" in u else None,
            "noise_scale": noise / signal if known else None,
        })  # fmt: skip
    return found


def _dominators(agreed: Sequence[Update]) -> list[dict[str, Any]]:
    """Micro-batches of which a voice was loud again and again, by the sum of their shares; their examples by id."""
    loud: dict[tuple[int, ...], list[float]] = {}
    for u in agreed:
        ids, start = [e["id"] for e in u["examples"]], 0
        adam = u.get("voices_adam") or u["voices"]
        for size, voice, corrected in zip(u["sizes"], u["voices"], adam, strict=True):
            members, start = tuple(sorted(ids[start : start + size])), start + size
            if min(voice, corrected) > _loud(len(u["voices"])):
                loud.setdefault(members, []).append(voice)
    again = sorted((p for p in loud.items() if len(p[1]) >= AGAIN), key=lambda p: -sum(p[1]))
    return [{"ids": list(ids), "times": len(v), "share": statistics.fmean(v)} for ids, v in again[:20]]


def _loud(voices: int) -> float:
    """Five fair shares; of few voices, half the update."""
    return min(LOUD / voices, max(0.5, 2 / voices))
