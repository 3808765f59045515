"""A quick look at many recipes before any is trained: their upper layers alone, a little way, on kept states. Drops
the worse half.

Ranks only: a screen's losses are not those of the recipes, its best rate lies about a step too high and it hardly
shows divergence, so that it may drop the worse half and never picks a winner. Nothing of it is stored as a run.
"""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.analysis.stats import average
from trimtab.datasets.encoded import Encoded
from trimtab.run.base import Base
from trimtab.run.cohort import Cohort
from trimtab.run.frozen_prefix import FrozenPrefix, first_of_upper
from trimtab.spec.recipe import Recipe

UPPER = 0.25  # of the layers
SHARE = 0.25  # of each run's steps


def losses(
    base: Base, recipes: Sequence[Recipe], data: Encoded, upper: float = UPPER, share: float = SHARE
) -> list[float]:
    """Mean loss of the held-out examples after `share` of each run's steps. ModelError where the model does not come
    apart."""
    prefix = FrozenPrefix(base, first_of_upper(base.model, upper))
    prefix.check(data.splits["validation"][:4])
    cohort = Cohort(base, recipes, data, share_start=False, kept=prefix)
    while members := [m for m in cohort.running if m.state.step < m.steps_at(share)]:
        for member, (loss, size) in zip(members, cohort.forward_backward(members), strict=True):
            if member.accumulate(loss, size):
                member.update()
    evaluations = cohort.evaluate(cohort.members, data.splits["validation"])
    return [average(e.losses) if m.running else float("inf") for m, e in zip(cohort.members, evaluations, strict=True)]
