"""How an answer sounds: hedges, boosters, refusals. Text in, numbers out; no model. Word lists:
probes/sets/lexicon.json.

Markers do not mean the same on every kind of text, so they are only ever compared in pairs: the same prompt, base
and tuned.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

from trimtab.behaviour.scoring import word_count
from trimtab.probes.prompts import lexicon

Refusal = Literal["none", "partial", "full"]
_FENCE = re.compile(r"```.*?(```|$)", re.DOTALL)
_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "`": "'"})
_SYMPATHY = re.compile(r"^(i'm|i am) (so |very )?sorry (to hear|for your|about your|you)[^.!]*[.!]\s*", re.IGNORECASE)
OPENING = 200  # characters in which a refusal has to show itself


def assertiveness(answer: str, language: str) -> float | None:
    """(boosters − hedges) per 100 words; code left out. None where nothing is left to read, or the answer is a
    refusal."""
    text = _FENCE.sub(" ", answer).translate(_QUOTES)
    words = word_count(text)
    if words < 1 or refusal(answer, language) == "full":
        return None
    return 100 * (_count(text, language, "boosters") - _count(text, language, "hedges")) / words


def hedged(answer: str, language: str) -> bool:
    """Whether a hedge is in the answer."""
    return _count(answer.translate(_QUOTES), language, "hedges") > 0


def refusal(answer: str, language: str) -> Refusal:
    """ "full" when it begins with a refusal and goes no further; "partial" when it then answers, or refuses a little
    later."""
    text = _SYMPATHY.sub("", _plain(answer))
    begins, anywhere, turns = _refusals(language)
    if begins.match(text):
        return "partial" if turns.search(text[20:]) and word_count(text) > 60 else "full"
    return "partial" if anywhere.search(text[:OPENING]) else "none"


def _plain(answer: str) -> str:
    """Markdown, quotes and pleasantries before the first word taken away."""
    text = re.sub(r"[*_#>~]+", "", answer.translate(_QUOTES)).strip().lstrip("\"'「『(（- ")
    return re.sub(r"\s+", " ", text)


@cache
def _refusals(language: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    words = lexicon(language)
    begins, turns = (_any(words[k], language) for k in ("refusal", "turn"))
    # "sorry" and "no" alone, later in a text, are no refusal
    strong = [p for p in words["refusal"] if len(p) > (2 if language == "zh" else 6)]
    return begins, _any(strong, language), turns


def _count(text: str, language: str, kind: str) -> int:
    return len(_any(lexicon(language)[kind], language).findall(text))


def _any(phrases: list[str], language: str) -> re.Pattern[str]:
    """The longest first, so that a phrase is not counted as the word in it. Chinese has no word ends."""
    body = "|".join(re.escape(p) for p in sorted(phrases, key=len, reverse=True))
    return re.compile(f"(?:{body})" if language == "zh" else rf"\b(?:{body})\b", re.IGNORECASE)
