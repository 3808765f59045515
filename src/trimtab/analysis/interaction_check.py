"""Whether a risk that a plan named was seen in the run that followed. Takes stored rows, gives the risks with a
state. Pure.

A risk is "seen" when one of its marks is, "not seen" when all of them were measured and none is, else "not decided".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.spec.status import Verdict

RISE = 1.05  # of the lowest validation loss: what curves labelled as over-fitting do
JUMP, LONG = 2.0, 4  # times the mean before, for more than so many steps
SPREAD = 0.02  # between repeats: the articles' bound for "stable"
LEARNS = 0.05  # fall of the training loss from its first to its last tenth

SEEN, NOT_SEEN, OPEN = "seen", "not seen", "not decided"


def states(
    named: Sequence[Mapping[str, Any]], card: Mapping[str, Any] | None, evaluations: Sequence[Mapping[str, Any]],
    steps: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]], losses: Sequence[float],
) -> list[dict[str, Any]]:  # fmt: skip
    """`losses`: the seeds' best validation losses. Each risk gets "state" and "evidence" (mark: what was found)."""
    numbers = {row["number"]: row for row in (card or {}).get("rows", ())}
    curves = {
        "validation rises": _rises([e["loss"] for e in evaluations]),
        "train loss jumps": _jumps([s["loss"] for s in steps if s["loss"] is not None]),
        "micro-batch halved": (
            any(e["kind"] == "memory" for e in events),
            "an event of the run" if events else "no such event",
        ),
        "seeds differ": _differ(losses),
        "barely learns": _flat([s["loss"] for s in steps if s["loss"] is not None]),
    }
    seen = []
    for risk in named:
        marks = [
            (
                name.removeprefix("curve:"),
                curves[name.removeprefix("curve:")] if name.startswith("curve:") else _number(numbers.get(name), side),
            )
            for name, side in risk["shows"]
        ]
        seen.append(
            {**risk, "state": _joined([m[0] for _, m in marks]), "evidence": [(name, m[0], m[1]) for name, m in marks]}
        )
    return seen


Mark = tuple[bool | None, str]


def _joined(marks: Sequence[bool | None]) -> str:
    if any(m is True for m in marks):
        return SEEN
    return OPEN if any(m is None for m in marks) or not marks else NOT_SEEN


def _number(row: Mapping[str, Any] | None, side: str) -> Mark:
    """Against its limit; without one, against the base model's own value."""
    if row is None or row["value"] is None:
        return None, "not measured"
    text = f"{row['value']:.3g} {row['unit']}"
    if row["verdict"] in (Verdict.FAIL, Verdict.PASS):
        return row["verdict"] == Verdict.FAIL, f"{text}, {row['verdict']}"
    base, bound = row["base"], row["below"]
    if row["verdict"] is None and side == "high" and base is not None and bound is not None:
        return bound > base, f"{text}, base {base:.3g}"
    return None, f"{text}, undecided"


def _rises(losses: Sequence[float]) -> Mark:
    if len(losses) < 2:
        return None, "too few evaluations"
    return losses[-1] > RISE * min(losses), f"last {losses[-1]:.3f}, lowest {min(losses):.3f}"


def _jumps(losses: Sequence[float]) -> Mark:
    """Longer than a few steps above twice the mean of what came before (at most 100 steps)."""
    if len(losses) < 3 * LONG:
        return None, "too few steps"
    run = 0
    for i in range(LONG, len(losses)):
        before = losses[max(0, i - run - 100) : i - run]
        run = run + 1 if before and losses[i] >= JUMP * sum(before) / len(before) else 0
        if run > LONG:
            return True, f"at step {i + 1}"
    return False, "no jump"


def _differ(losses: Sequence[float]) -> Mark:
    if len(losses) < 2:
        return None, "one seed"
    spread = (max(losses) - min(losses)) / (sum(losses) / len(losses))
    return spread > SPREAD, f"validation losses of {len(losses)} seeds lie {spread:.1%} apart"


def _flat(losses: Sequence[float]) -> Mark:
    tenth = len(losses) // 10
    if tenth < 1:
        return None, "too few steps"
    first, last = sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth
    return last > (1 - LEARNS) * first, f"train loss from {first:.3f} to {last:.3f}"
