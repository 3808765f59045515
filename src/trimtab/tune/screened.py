"""Whom a screen drops. Pure; takes its losses, gives the worse half."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trimtab.spec.recipe import Recipe

KEPT = 0.5  # of the recipes


def worse_half(recipes: Sequence[Recipe], found: Sequence[float], kept: float = KEPT) -> list[Recipe]:
    """Those to drop: the highest losses, at most a half of them."""
    order = sorted(range(len(recipes)), key=lambda i: found[i])
    return [recipes[i] for i in order[math.ceil(len(recipes) * kept) :]]
