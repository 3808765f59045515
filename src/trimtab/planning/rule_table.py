"""rules.json: the numbers and formulas behind the rules, read once. Takes nothing, gives them; computes a formula."""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def table() -> dict[str, Any]:
    """rules.json, read once."""
    return json.loads(files("trimtab.planning").joinpath("rules.json").read_text(encoding="utf-8"))


def compute(formula: str, **names: float) -> float:
    """A formula of rules.json, with clip, min, sqrt and the given names; nothing else is reachable."""
    allowed = {"clip": lambda x, low, high: min(max(x, low), high), "min": min, "sqrt": math.sqrt}
    return float(eval(formula, {"__builtins__": {}}, {**allowed, **names}))
