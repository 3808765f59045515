"""Lengths of time as people say and type them. Takes seconds or text, gives text or seconds. Pure."""

from __future__ import annotations

import math

from trimtab.errors import SpecError


def in_words(seconds: float, digits: int = 0) -> str:
    """`digits` of the minutes."""
    if seconds >= 2 * 86400:
        return f"{seconds / 86400:.0f} days"
    if seconds >= 3 * 3600:
        return f"{seconds / 3600:.0f} hours"
    if seconds >= 120:
        return f"{seconds / 60:.{digits}f} minutes"
    return f"{seconds:.2g} seconds" if seconds < 10 else f"{seconds:.0f} seconds"


def typed(seconds: float) -> str:
    """As it is typed behind --time."""
    return f"{seconds / 60:g}m" if seconds % 60 == 0 else f"{seconds:g}s"


def parse(text: str, option: str = "--time") -> float:
    """ "90s", "30m", "1.5h" or bare minutes, in seconds; SpecError for anything else."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    body, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 60.0)
    try:
        seconds = float(body) * unit
    except ValueError:
        seconds = math.nan
    if not (seconds > 0 and math.isfinite(seconds)):
        raise SpecError(option, [f'got "{text}"; give a duration such as 90s, 30m or 1.5h'])
    return seconds
