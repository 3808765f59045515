"""What the card's page and the study's report both show of a card. Takes judged rows and evaluations, gives pictures
and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from trimtab.reporting import draw, pictures
from trimtab.reporting.confusion import confusion
from trimtab.spec.numbers import GROUPS


def parts(
    rows: Sequence[Mapping[str, Any]], epochs: Sequence[Mapping[str, Any]], samples: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """What the templates need: rows by group and the pictures."""
    by_name, drift = {r["number"]: r for r in rows}, drift_row(rows)
    confidence = pictures.lines(
        [e for e in epochs if e["right"] is not None], "epochs",
        (("sure", "how sure it is"), ("right", "how often it is right")), "epochs", "Confidence against accuracy",
    )  # fmt: skip
    return {
        "grouped": [(GROUPS[g], list(part)) for g, part in groupby(rows, key=lambda r: r["group"])],
        "limits": draw.limits(rows),
        "confidence": confidence,
        "confusion": confusion(samples, rows),
        "sureness": _sureness(epochs),
        "ruler": pictures.ruler(drift, by_name.get("kl_first_token")) if drift else "",
    }


def _sureness(epochs: Sequence[Mapping[str, Any]]) -> str:
    """Whether it went on growing surer when it no longer grew better."""
    known = [e for e in epochs if e["right"] is not None]
    if len(known) < 3:
        return ""
    best = max(known, key=lambda e: e["right"])
    last = known[-1]
    if last["sure"] - best["sure"] > 0.02 and last["right"] <= best["right"] and last is not best:
        return (
            f"After {best['epochs']:.3g} epochs it grew surer ({best['sure']:.0%} to {last['sure']:.0%}) "
            f"but not better ({best['right']:.0%} to {last['right']:.0%} right)."
        )
    return "It did not grow surer without growing better."


def drift_row(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The card's row of drift on neutral prompts; None where it has none."""
    return next((r for r in rows if r["number"] == "kl_generic"), None)
