"""A quick look at many recipes before any is trained: their upper layers alone, a little way, on kept states. Drops the worse half.

Ranks only: a screen's losses are not those of the recipes, its best rate lies about a step too high and it hardly shows divergence, so
that it never picks a winner. Nothing of it is stored as a run.
"""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.analysis.stats import average
from trimtab.data.prepare import Tokenised
from trimtab.run.cohort import Base, Cohort
from trimtab.run.prefix import Prefix
from trimtab.spec.recipe import Recipe

UPPER = 0.25  # of the layers
SHARE = 0.25  # of each run's steps


def losses(
    base: Base, recipes: Sequence[Recipe], data: Tokenised, upper: float = UPPER, share: float = SHARE
) -> list[float]:
    """Mean nats/token of the held-out examples after `share` of each run's steps. ModelError where the model does not come apart."""
    prefix = Prefix(base, upper)
    prefix.check(data.tokens["validation"][:4])
    cohort = Cohort(base, recipes, data, trunk=False, prefix=prefix)
    while members := [m for m in cohort.running if m.progress.step < m.steps_at(share)]:
        for member, (loss, tokens) in zip(members, cohort.forward_backward(members), strict=True):
            if member.accumulate(loss, tokens):
                member.update()
    return [average(j.nats) if m.running else float("inf") for m, j in zip(cohort.members, cohort.judge(cohort.members, data.tokens["validation"]), strict=True)]  # fmt: skip
