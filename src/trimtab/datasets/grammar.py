"""Random sentences from Home Assistant's intent templates. Takes a template and lists, gives text and the slots it
filled. Not hassil's sampler: the bundled task is these very sentences, draw for draw, and every figure rests on it.

Template syntax: [optional]  (a|b)  [a|b]  (a;b) in any order  {list:slot}  <rule>.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_CLOSER = {"(": ")", "[": "]"}


class Unfillable(Exception):
    """The template asks for a list or rule that has no values here."""


@dataclass
class Sampler:
    """`lists[name]` holds (spoken, meant) pairs; `rules[name]` holds templates."""

    lists: Mapping[str, Sequence[tuple[str, Any]]]
    rules: Mapping[str, str]
    rng: random.Random
    optional: float = 0.35
    slots: dict[str, Any] = field(default_factory=dict)

    def sentence(self, template: str) -> tuple[str, dict[str, Any]]:
        """One sentence and its slots, e.g. ('dim the kitchen to 40 %', {'area': 'kitchen', 'brightness': 40})."""
        self.slots = {}
        text = re.sub(r"\s+", " ", self._expand(template)).strip()
        return text, dict(self.slots)

    def _expand(self, text: str) -> str:
        out, i = "", 0
        while i < len(text):
            char = text[i]
            if char in "([":
                end = _closing(text, i)
                out += self._group(text[i + 1 : end], optional=char == "[")
            elif char in "{<":
                end = text.index("}" if char == "{" else ">", i)
                name = text[i + 1 : end]
                out += self._from_list(name) if char == "{" else self._expand(self._rule(name))
            else:
                end, out = i, out + char
            i = end + 1
        return out

    def _group(self, inner: str, optional: bool) -> str:
        if optional and self.rng.random() > self.optional:
            return ""
        pieces = split_top(inner, ";")
        if len(pieces) > 1:  # a permutation: all of them, in any order
            self.rng.shuffle(pieces)
            return " ".join(self._expand(p) for p in pieces)
        return self._expand(self.rng.choice(split_top(inner, "|")))

    def _rule(self, name: str) -> str:
        if name not in self.rules:
            raise Unfillable(name)
        # A rule of bare alternatives (a|b) without brackets still means one of them.
        return self.rng.choice(split_top(self.rules[name], "|"))

    def _from_list(self, name: str) -> str:
        source, _, slot = name.partition(":")
        if source not in self.lists:
            raise Unfillable(source)
        spoken, meant = self.rng.choice(self.lists[source])
        self.slots[slot or source] = meant
        return self._expand(spoken)


def split_top(text: str, by: str) -> list[str]:
    """Split at `by` outside any bracket."""
    pieces, depth, start = [], 0, 0
    for i, char in enumerate(text):
        depth += (char in "([<{") - (char in ")]>}")
        if char == by and depth == 0:
            pieces.append(text[start:i])
            start = i + 1
    return [*pieces, text[start:]]


def _closing(text: str, start: int) -> int:
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == text[start]) - (text[i] == _CLOSER[text[start]])
        if depth == 0:
            return i
    raise ValueError(f"unbalanced bracket in template {text!r}")
