"""One decided setting: value, reason, source, range. Takes values, gives a frozen row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One decided setting. `range` is what reasonable people use (None: no meaningful one); `inputs` what it was
    decided from."""

    value: Any
    reason: str
    source: str
    range: tuple[float, float] | None = None
    inputs: tuple[tuple[str, Any], ...] = ()


# Where a person fixes one of these, everything else is planned around it: the rule has no word of its own.
FOLLOWED = ("per_device_train_batch_size", "gradient_accumulation_steps", "gradient_checkpointing", "trainer")


def yours(name: str, value: Any, rule: Setting | None) -> Setting:
    """A person's own value, with what the rule would have said kept visible."""
    if rule is None:
        return Setting(value, "yours", "you")
    said = (
        "yours; the rest is planned around it"
        if name in FOLLOWED
        else f"yours; the rule says {rule.value} ({rule.reason})"
    )
    return replace(rule, value=value, reason=said, source="you")
