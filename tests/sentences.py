"""The numbers in a sentence against the data behind it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

# Not numbers of the study: ids, names with digits in them, versions.
NAMES = re.compile(
    r"\b[0-9a-f]{8}-s\d+\b|\b(?:\w*[A-Za-z_]\w*\d\w*|\d+(?!e[-+]?\d)[a-z]\w*)\b|\d+\.\d+\.\d+\S*|https?://\S+|\S+/\S+"
)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
FORMS = ("{:g}", "{:.1e}", "{:.0f}", "{:.1f}", "{:.2f}", "{:.3f}", "{:.2g}", "{:.3g}", "{:,.0f}")


def numbers(value: Any) -> Iterator[float]:
    """Every number in a stored value, those in its texts too."""
    if isinstance(value, dict):
        for k, v in value.items():
            yield from (*numbers(str(k)), *numbers(v))
    elif isinstance(value, list | tuple):
        yield float(len(value))
        for v in value:
            yield from numbers(v)
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int | float):
        yield float(value)
    elif isinstance(value, str):
        yield from (float(n.replace(",", "")) for n in NUMBER.findall(NAMES.sub(" ", value)))


def unexplained(sentence: str, *stored: Any, constants: Iterable[float] = ()) -> list[str]:
    """Numbers of the sentence that no stored value reads like, as it stands or in per cent. `constants`: those that the
    sentence's own rule brings along."""
    known = {abs(v) for v in (*numbers(list(stored)), *constants)}
    read = {form.format(v * times) for v in known for times in (1, 100) for form in FORMS}
    found = NUMBER.findall(NAMES.sub(" ", sentence))
    return [n for n in found if n.lstrip("+-").rstrip(",") not in read]
