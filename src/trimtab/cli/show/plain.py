"""Text of data and models, made safe for a terminal: what would move its cursor or turn its letters is shown as an
escape; and the colours of verdicts."""

from __future__ import annotations

import re

# Of a verdict, in the terminal.
STYLE = {"PASS": "green", "FAIL": "red", "SOFT FAIL": "red", "UNDECIDED": "yellow", "NOT MEASURED": "bright_black"}

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """The same text with control and direction characters (but line ends and tabs) as \\x1b and the like."""
    return _UNSAFE.sub(lambda m: m.group().encode("unicode_escape").decode(), text)
