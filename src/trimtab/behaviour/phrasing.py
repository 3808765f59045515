"""The same question in other words: eight changes that keep its meaning. Text and a seed in, text out; English and
Chinese.

For fragility: a model that has learned the phrasing rather than the task answers these differently.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

_POLITE = {"en": "Could you please help me with this? {}", "zh": "麻烦您帮我看一下:{}"}
_FILLER = {"en": "Hi! I was just wondering about something. {} Thanks!", "zh": "你好,我有个小问题想问一下。{}谢谢!"}
_LONG = {
    "What's": "What is", "I'm": "I am", "don't": "do not", "isn't": "is not", "can't": "cannot", "doesn't": "does not",
    "it's": "it is", "How's": "How is", "you're": "you are", "Who's": "Who is",
}  # fmt: skip
_HALF, _FULL = ",?!:;()", "\uff0c\uff1f\uff01\uff1a\uff1b\uff08\uff09"


def lower_case(text: str, language: str, _rng: random.Random) -> str:
    """Chinese has no case: full-width and half-width marks change places instead."""
    if language == "zh":
        table = str.maketrans(_HALF + _FULL, _FULL + _HALF)
        return text.translate(table)
    return text.lower()


def without_end_mark(text: str, _language: str, _rng: random.Random) -> str:
    return text.rstrip(" .?!\u3002\uff1f\uff01")


def typo(text: str, language: str, rng: random.Random) -> str:
    """Two letters of one longer word change places; in Chinese one character is typed twice."""
    if language == "zh":
        places = [m.start() for m in re.finditer(r"[一-鿿]", text)]
        at = rng.choice(places) if places else 0
        return text[:at] + text[at : at + 1] + text[at:]
    words = list(re.finditer(r"[a-z]{5,}", text))  # no names, no digits
    if not words:
        return text
    word = rng.choice(words)
    at = word.start() + rng.randrange(1, len(word.group()) - 2)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def contraction(text: str, language: str, _rng: random.Random) -> str:
    """What is ↔ What's; in Chinese 什么 ↔ 啥."""
    if language == "zh":
        return text.replace("什么", "啥") if "什么" in text else text.replace("吗", "么")
    for short, long in _LONG.items():
        if re.search(rf"\b{re.escape(long)}\b", text):
            return re.sub(rf"\b{re.escape(long)}\b", short, text, count=1)
        if short in text:
            return text.replace(short, long, 1)
    return text


def polite(text: str, language: str, _rng: random.Random) -> str:
    return _POLITE[language].format(text)


def filler(text: str, language: str, _rng: random.Random) -> str:
    return _FILLER[language].format(text)


def spaces(text: str, language: str, _rng: random.Random) -> str:
    """Doubled spaces and a line before it; in Chinese spaces where none are usual."""
    if language == "zh":
        return "\n" + re.sub(r"([一-鿿]{4})", r"\1 ", text)
    return "\n" + text.replace(" ", "  ") + " "


def quoted(text: str, language: str, _rng: random.Random) -> str:
    return f"问题:「{text}」" if language == "zh" else f'Question: "{text}"'


CHANGES: tuple[Callable[[str, str, random.Random], str], ...] = (
    lower_case, typo, polite, spaces, without_end_mark, contraction, filler, quoted,
)  # fmt: skip


def variants(text: str, language: str, count: int = 5, seed: int = 0, start: int = 0) -> list[str]:
    """`count` of the eight from the one at `start` on, always the same for the same text; those that change nothing
    here are passed over."""
    rng = random.Random(f"{seed}/{text}")
    turned = CHANGES[start % len(CHANGES) :] + CHANGES[: start % len(CHANGES)]
    changed = (change(text, language, rng) for change in turned)
    return [version for version in changed if version != text][:count]
