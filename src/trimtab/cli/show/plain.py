"""Text of data and models, made safe for a terminal: what would move its cursor or turn its letters is shown as an
escape."""

from __future__ import annotations

import re

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """The same text with control and direction characters (but line ends and tabs) as \\x1b and the like."""
    return _UNSAFE.sub(lambda m: m.group().encode("unicode_escape").decode(), text)
