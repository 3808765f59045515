"""Who may stop early. Takes paired validation losses at one rung, gives the members to stop and why.

Decided on the dense paired loss, never on an accuracy: over 63 real runs the loss at 10 % of the steps ranks them like
the final score (rank correlation 0.94), a 50-item accuracy at 20 % does not (0.74). Ranks of neighbours cross later
than that: on the recorded grid (27 recipes, 3 seeds) a rule that stopped from a quarter on stopped the eventual best of
3 of 27 triples of rates. The rule below stops it in 0 of 27 (1 of 81 triples of any setting; bench/honesty.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from trimtab.analysis import stats
from trimtab.analysis.card import drift_of
from trimtab.spec.status import Cause
from trimtab.spec.words import words_of
from trimtab.store import RunRow, Store

Items = Sequence[float]


@dataclass(frozen=True)
class Race:
    """`against`: runs, finished or in another cohort, whose rungs the running ones are held against; `tick` is
    called at every rung.

    `both`: loss and drift count, so that only a rival that has drifted no further may stop a run.
    """

    against: tuple[str, ...] = ()
    tick: Callable[[], None] = lambda: None
    both: bool = False

    def beside(self, rows: Sequence[RunRow], cohort: Sequence[str]) -> Race:
        """These runs are rivals of each other; those of the one cohort meet in memory, with whoever is outside the
        budget left out."""
        others = (r.id for r in rows if r.id not in cohort)
        return replace(self, against=tuple(dict.fromkeys((*self.against, *others))))

    def losers(self, store: Store, share: float, running: Mapping[str, Items]) -> dict[str, str]:
        """A rival that left its budget or broke may stop nobody."""
        self.tick()
        broken = {r for r in self.against if store.run(r).result.get("cause") in (Cause.BUDGET, Cause.GUARD)}
        measured = {r: e for r in self.against if r not in running for e in store.evaluations(r) if e["share"] == share}
        rivals = {r: e["items"] for r, e in measured.items() if r not in broken}
        if not self.both:
            return clearly_worse(share, running, rivals)
        measured |= {r: e for r in running for e in store.evaluations(r) if e["share"] == share}
        known = {r: drift_of(e["pulse"], words_of(store.run(r).recipe.task)) for r, e in measured.items()}
        drift = {r: d for r, d in known.items() if d is not None}  # what was not measured is not calm
        everyone = {**rivals, **running}
        behind: dict[str, str] = {}
        for run, items in running.items():
            if run not in drift:
                continue
            no_further = {r: v for r, v in everyone.items() if r != run and drift.get(r, math.inf) <= drift[run]}
            behind |= clearly_worse(share, {run: items}, no_further)
        return behind


def clearly_worse(share: float, running: Mapping[str, Items], rivals: Mapping[str, Items]) -> dict[str, str]:
    """`rivals` are runs measured at the same share (the running ones and any finished). The best is never stopped, and
    nobody before half of the steps.

    Clearly: worse with one-sided 95 % confidence over items, and by a margin that is wide early on (ranks still cross)
    and stays wider than seeds are apart (9 of 10 recorded recipes: SD of 17 % of the loss at the end).
    """
    if share < FIRST:
        return {}
    everyone = {**rivals, **running}
    best = min(everyone, key=lambda r: stats.average(everyone[r]))
    room = margin(share) * stats.average(everyone[best])
    stops = {}
    for run, items in running.items():
        gap = stats.paired(items, everyone[best]) if run != best else None
        if gap and gap.below > 0 and gap.value > room and share < 1:
            stops[run] = (
                f"far behind {best} at {share:.0%} of the steps: validation loss {stats.average(items):.3f}"
                f" against {stats.average(everyone[best]):.3f} (+{gap.value:.3f}, 95 % {gap.low:+.3f} to"
                f" {gap.high:+.3f} over {gap.n} paired items of one seed)"
            )
    return stops


FIRST = 0.5  # of the steps, before which nobody is stopped


def margin(share: float) -> float:
    """Of the best loss: within it nobody is stopped."""
    return 0.30 + 0.25 * (1 - share)
