"""How sure a classifier must be before its answer is given: a threshold from validation examples. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trimtab.analysis.stats import Interval, share

STEPS = tuple(round(0.99 - 0.01 * i, 2) for i in range(100))  # tried from the strictest on
FEWEST = 30  # examples above a threshold: with fewer no bound is worth having


@dataclass(frozen=True)
class Threshold:
    """Answers at least `sure` are given: `covered` of the validation examples, of which `right` are right."""

    sure: float
    covered: float
    right: Interval


def fewest(wanted: float) -> int:
    """Answers that, all right, show with 95 % confidence that at least `wanted` are."""
    return max(FEWEST, math.ceil(math.log(0.05) / math.log(wanted)))


def threshold(right: Sequence[float], sure: Sequence[float], wanted: float) -> Threshold | None:
    """The lowest sureness above which at least `wanted` of the answers are right, with 95 % confidence; None where no
    threshold is shown to hold.

    `right` 1 or 0 and `sure` 0 to 1 of each validation example. Thresholds are tested in a fixed order, from the
    strictest on, and the first that fails ends it, so that one confidence serves them all (fixed-sequence testing, as
    in Angelopoulos et al. 2021, Learn then Test): in at most 5 % of cases answers are right less often than `wanted`.
    """
    found = None
    for least in STEPS:
        kept = [r for r, s in zip(right, sure, strict=True) if s >= least]
        if len(kept) < FEWEST:
            continue
        seen = share(round(sum(kept)), len(kept))
        assert seen
        if seen.below < wanted:
            break
        found = Threshold(least, len(kept) / len(right), seen)
    return found
