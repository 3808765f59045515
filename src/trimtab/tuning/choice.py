"""Which of several finished runs to go on with, and a sentence that says why. Pure; takes outcomes, gives a choice.

The lowest paired validation loss wins, unless another is as good for practical purposes (shown, within a margin) and
calmer: it moved the model less or is the smaller step. What is not known is never calm. One seed each chooses and
claims nothing: two seeds of one recipe differ by as much (35 of 81 pairs of the recorded grid by more than their items
explain), so sentences give no interval here; the report's tables say that theirs is over items alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trimtab.analysis import stats
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Cause, Status
from trimtab.spec.words import words_of


@dataclass(frozen=True)
class Outcome:
    """A finished run at its best evaluation. `drift` is the pulse's there, None where none was taken, `breach` why
    it left the budget."""

    recipe: Recipe
    status: Status
    loss: float
    items: tuple[float, ...]
    drift: float | None
    breach: str | None = None
    cause: Cause | None = None
    history: Mapping[float, tuple[float, ...]] = field(default_factory=dict)  # items by share of the run

    @property
    def eligible(self) -> bool:
        """Trained to its end and not stopped by the budget or a guard."""
        return self.status == Status.COMPLETE and self.breach is None


@dataclass(frozen=True)
class Decision:
    """Who is carried on, in a sentence, with a table of all; `tied`: another was as good."""

    winner: Outcome
    sentence: str
    evidence: list[dict[str, Any]]
    tied: bool = False


MARGIN = 0.02  # of the best loss: what the articles call stable, and call the same for practical purposes
SMALLER_IS_CALMER = ("learning_rate", "num_train_epochs")


def choose(outcomes: Sequence[Outcome], setting: str) -> Decision:
    """`setting` names what differs, e.g. learning_rate. With nobody eligible, the least drifted is taken and that is
    said."""
    able = [o for o in outcomes if o.eligible]
    if not able:
        least = min(outcomes, key=lambda o: (o.drift if o.drift is not None else float("inf"), o.loss))
        return Decision(
            least,
            f"No {setting} stayed inside the budget; {_value(least, setting)} moved the model least and is carried on.",
            _evidence(outcomes, least, setting),
        )
    best = min(able, key=lambda o: o.loss)
    calmer = [o for o in able if o is not best and _as_good(o, best) and _calmer(o, best, setting)]
    winner = min(calmer, key=lambda o: (_moved(o), _size(o, setting))) if calmer else best
    tied = any(_as_good(o, winner) for o in able if o is not winner)
    return Decision(winner, _sentence(winner, best, outcomes, setting), _evidence(outcomes, winner, setting), tied)


def _sentence(winner: Outcome, best: Outcome, outcomes: Sequence[Outcome], setting: str) -> str:
    head = f"{setting} {_value(winner, setting)} is kept: validation loss {winner.loss:.3f}"
    if winner is not best:
        return (
            f"{head} is within {MARGIN:.0%} of {_value(best, setting)}'s {best.loss:.3f} on the items of one seed, and"
            f" {_why_calmer(winner, best)}."
        )
    others = [o for o in outcomes if o is not winner]
    if not others:
        return head + "."
    parts = []
    for other in sorted(others, key=lambda o: o.loss):
        gap, share = _gap(other, winner)
        span = f"{gap.value:+.3f}" if gap else "not measured"
        when = f" when it was stopped at {share:.0%}" if share is not None else ""
        parts.append(f"{_value(other, setting)} is {span}{when}{' (outside the budget)' if other.breach else ''}")
    return f"{head}; {', '.join(parts)} on the same items. One seed each: chosen, not shown to be better."


def _gap(other: Outcome, winner: Outcome) -> tuple[stats.Interval | None, float | None]:
    """other − winner: at the best evaluations, or, for a run that was stopped, at the same share of the run."""
    if other.status == Status.COMPLETE:
        return stats.paired(other.items, winner.items), None
    common = sorted(other.history.keys() & winner.history.keys())
    if not common:
        return None, None
    return stats.paired(other.history[common[-1]], winner.history[common[-1]]), common[-1]


def _as_good(other: Outcome, best: Outcome) -> bool:
    """Not worse by more than the margin, with 95 % confidence: that nothing was shown is no equality."""
    gap = stats.paired(other.items, best.items)
    return gap is not None and gap.above <= MARGIN * abs(best.loss)


def _calmer(other: Outcome, best: Outcome, setting: str) -> bool:
    """Moved the model clearly less; or no further, and is the smaller step."""
    if other.drift is None or best.drift is None:
        smaller = other.drift is None and best.drift is None
    elif other.drift < 0.8 * best.drift:
        return True
    else:
        smaller = other.drift <= best.drift
    return smaller and _size(other, setting) < _size(best, setting)


def _moved(o: Outcome) -> float:
    return math.inf if o.drift is None else o.drift


def _size(o: Outcome, setting: str) -> float:
    """How large a step it is, where that can be said: of rates and lengths."""
    return float(getattr(o.recipe, setting)) if setting in SMALLER_IS_CALMER else 0.0


def _why_calmer(winner: Outcome, best: Outcome) -> str:
    if winner.drift is None or best.drift is None or winner.drift >= 0.8 * best.drift:
        return "is the smaller step"
    unit = words_of(winner.recipe.task).drift_unit
    return f"it moved the model less (drift {winner.drift:.3f} against {best.drift:.3f} {unit})"


def still_falling(items: Sequence[Sequence[float]]) -> bool:
    """Whether the last of a run's evaluations is below the one before, item by item, with one-sided 95 % confidence."""
    gap = stats.paired(items[-1], items[-2]) if len(items) > 1 else None
    return gap is not None and gap.above < 0


def _evidence(outcomes: Sequence[Outcome], winner: Outcome, setting: str) -> list[dict[str, Any]]:
    rows = []
    for o in outcomes:
        gap, share = _gap(o, winner) if o is not winner else (None, None)
        rows.append(
            {
                "run": o.recipe.run_id,
                setting: _value(o, setting),
                "status": o.status,
                "loss": o.loss,
                "drift": o.drift,
                "kept": o is winner,
                "note": o.breach,
                "share": share,
                "gap": gap and gap.value,
                "low": gap and gap.low,
                "high": gap and gap.high,
            }
        )
    return rows


def _value(o: Outcome, setting: str) -> str:
    value = o.recipe.effective_batch if setting == "effective batch" else getattr(o.recipe, setting)
    return f"{value:g}" if isinstance(value, float) else str(value)


KEPT = 0.5  # of the recipes that a quick look was taken at


def worse_half(recipes: Sequence[Recipe], losses: Sequence[float], kept: float = KEPT) -> list[Recipe]:
    """Those that a quick look drops: the highest losses, at most a half of them."""
    order = sorted(range(len(recipes)), key=lambda i: losses[i])
    return [recipes[i] for i in order[math.ceil(len(recipes) * kept) :]]
