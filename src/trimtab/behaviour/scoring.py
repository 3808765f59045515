"""One answer -> one number. Pure text functions: no model, no torch, no averages."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

_CHARACTER = "[一-鿿぀-ヿ]"  # Chinese, and Japanese kana


def degenerate(answer: str) -> bool:
    """Empty, or more than half of its 4-grams are repetitions (seq-rep-4 > .5)."""
    words = units(answer)
    grams = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    return not words or (bool(grams) and 1 - len(set(grams)) / len(grams) > 0.5)


def word_count(answer: str) -> float:
    """Words; a Chinese word has about 1.7 characters. A mark that stands alone is no word."""
    chinese = len(re.findall(_CHARACTER, answer))
    others = re.sub(_CHARACTER, " ", answer).split()
    return sum(any(c.isalnum() for c in w) for w in others) + chinese / 1.7


def parse_json(answer: str) -> dict[str, Any] | None:
    """The whole answer as a JSON object, strictly: no fence, nothing before or after."""
    try:
        value = json.loads(answer)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def exact(answer: str, reference: str, as_json: bool) -> float:
    """1 when the same: as JSON values, else as text after case and space are normalised."""
    if as_json:
        given = parse_json(answer)
        return float(given is not None and given == parse_json(reference))
    return float(_normal(answer) == _normal(reference))


def overlap(answer: str, reference: str, as_json: bool) -> float:
    """F1 of the JSON fields (key and value), or of the words: partial credit, 0 to 1."""
    given, wanted = (_fields(answer), _fields(reference)) if as_json else (_words(answer), _words(reference))
    common = sum((given & wanted).values())
    return 2 * common / (sum(given.values()) + sum(wanted.values())) if common else 0.0


def units(text: str) -> list[str]:
    """Words; single characters where a script has no spaces, or where a "word" is too long to be one (hahaha…)."""
    words = re.findall(rf"{_CHARACTER}|[^\s{_CHARACTER[1:-1]}]+", text)
    return [u for w in words for u in (w if len(w) > 30 else [w])]


def _fields(text: str) -> Counter[str]:
    return Counter(f"{k}={json.dumps(v, sort_keys=True)}" for k, v in (parse_json(text) or {}).items())


def _words(text: str) -> Counter[str]:
    """Words, and single Chinese characters."""
    return Counter(re.findall(rf"{_CHARACTER}|[^\W{_CHARACTER[1:-1]}]+", text.lower()))


def _normal(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().lower()
