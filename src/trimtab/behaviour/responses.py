"""What one model says and thinks when it is asked the card's questions. Takes a evaluated and a battery, gives plain
JSON values.

Base and tuned answer the same battery apart from each other; what a base said is kept by (weights, template,
question), so that every pulse and card of a study, and of the next one, shares it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from trimtab.analysis.looks import blocks, pieces
from trimtab.behaviour import phrasing
from trimtab.behaviour.answering import Answer, EvaluatedModel, answers, sampled
from trimtab.behaviour.kept import identity, is_known, remembered
from trimtab.behaviour.multiple_choice import option_probabilities
from trimtab.behaviour.refusal_margin import refusal_margin
from trimtab.probes import prompts
from trimtab.probes.prompts import as_messages
from trimtab.spec.probe import Item, Probe
from trimtab.spec.status import LEVELS, Level

BRIEF = ("pulse", "short")
PULSE = 12  # prompts of a pulse's drift: half of a card's
FACTS, REQUESTS = {"pulse": 30, "short": 60}, {"pulse": 12, "short": 24}  # at most; all of them otherwise
OPEN_TOKENS, REQUEST_TOKENS = 24, 32
SAMPLES = 5  # of an open question, in an audit


@dataclass(frozen=True)
class Battery:
    """What is asked. `language` None: trimtab has no probes in it, so that only neutral prompts (in English) are
    left."""

    level: Level = "card"
    language: str | None = "en"
    own: tuple[Probe, ...] = ()
    side: Literal["judge", "tune"] = "judge"  # tune: what remedies are set by, and no card ever asks

    @property
    def facts(self) -> tuple[prompts.Fact, ...]:
        """Facts with options that are asked at this level; none without probes in the language."""
        if not self.language or self.side == "tune":
            return ()
        return prompts.fact_questions(self.language)[: FACTS.get(self.level)]

    @property
    def rephrased(self) -> tuple[prompts.Fact, ...]:
        """Facts that are asked in other words too: all of them, as sixty could not show 5 % of an unchanged model."""
        return self.facts if self.level not in BRIEF else ()

    @property
    def open_questions(self) -> tuple[prompts.Fact, ...]:
        """Facts asked without options, for a free answer."""
        return self.facts[:100] if self.level not in BRIEF else ()

    def requests(self, kind: Literal["alarming", "refusable"]) -> tuple[str, ...]:
        """Prompts of this kind. What presets limit hard, declining, is asked at every level that generates."""
        if self.side == "tune":
            return self.leaning if kind == "refusable" else ()
        least = "short" if kind == "refusable" else "card"
        asked = self.language and LEVELS.index(self.level) >= LEVELS.index(least)
        return prompts.requests(kind, self.language) if self.language and asked else ()

    @property
    def leaning(self) -> tuple[str, ...]:
        """The requests whose refusal margin is taken."""
        if not self.language:
            return ()
        if self.side == "tune":
            return prompts.remedy_requests("tune", self.language)
        return prompts.requests("refusable", self.language)[: REQUESTS.get(self.level)]

    @property
    def forms(self) -> Probe | None:
        """Prompts that ask for an exact form; None at a brief level."""
        return prompts.forms(self.language) if self.language and self.level not in BRIEF else None

    @property
    def few(self) -> int | None:
        """Neutral prompts and texts that a pulse's drift is taken on; None: all that are asked."""
        return PULSE if self.level == "pulse" and self.side == "judge" else None

    @property
    def variants(self) -> int:
        """Phrasings of each rephrased fact."""
        return 8 if self.level == "audit" else 2


@dataclass
class Responses:
    """Answers by question, and the seconds that each took (next to none where it was known from before)."""

    found: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def answers(self, question: str) -> list[Answer]:
        """To the question set of this name, in order; empty where it was not asked."""
        return [Answer.read(a) for a in self.found.get(question, [])]


def collect_responses(
    evaluated: EvaluatedModel,
    battery: Battery,
    keep: Path | None = None,
    called: str = "",
    said: Responses | None = None,
    upto: Mapping[str, int] | None = None,
) -> Responses:
    """`keep` is a folder in which answers are looked up and kept: for a base model, that many others are compared
    with. Goes on with what was `said`, up to so many of each question set; to the end of all where None."""
    said, who = said or Responses(), identity(evaluated) if keep else ""
    called = called or ("the base model" if keep and not evaluated.adapter else "the tuned model")
    called = "" if battery.side == "tune" else called  # asked a dozen times in a row: whoever does so says it once
    for question in questions(battery):
        known = said.found.setdefault(question.name, [])
        for end in pieces(len(question.items)):
            if len(known) < end <= (len(question.items) if upto is None else upto.get(question.name, 0)):
                began = time.monotonic()
                known += _piece(evaluated, question, len(known), end, keep, who, called)
                said.seconds[question.name] = said.seconds.get(question.name, 0.0) + time.monotonic() - began
    return said


def _piece(
    evaluated: EvaluatedModel, question: Question, start: int, end: int, keep: Path | None, who: str, called: str
) -> list[Any]:
    """What it says to these of the questions; of a base all of each block that they lie in is asked and kept, so that a
    card that stops early and one that asks all share it."""
    said: list[Any] = []
    for first, last in pairwise([0, *blocks(len(question.items))]) if keep else [(start, end)]:
        if first < end and last > start:
            ask = partial(_ask, evaluated, question, first, last, called)
            known = remembered(keep, question.name, who, question.content(first, last), ask)
            said += known[max(0, start - first) : end - first]
    return said


def _ask(evaluated: EvaluatedModel, question: Question, start: int, end: int, called: str) -> list[Any]:
    if called and not start:
        evaluated.base.say(f"Asking {called}: {WORDS.get(question.name, question.name)}")
    return question.ask(evaluated, question.items[start:end], start)


def known_share(evaluated: EvaluatedModel, battery: Battery, keep: Path) -> float:
    """Of the questions, those whose answers by this model are kept."""
    who, known, count = identity(evaluated), 0, 0
    for question in questions(battery):
        for start, end in pairwise([0, *blocks(len(question.items))]):
            count += end - start
            known += (end - start) * is_known(keep, question.name, who, question.content(start, end))
    return known / count if count else 1.0


WORDS = {
    "facts": "multiple-choice facts", "phrasing": "the same facts in other words", "leaning": "which way it leans",
    "alarming": "harmless questions that sound alarming", "refusable": "requests that ought to be declined",
    "form": "answers in an exact form", "open": "open questions", "samples": "open questions, several times",
    "generic": "neutral prompts",
}  # fmt: skip


@dataclass(frozen=True)
class Question:
    """A set of questions of one kind. `how` they are asked, as far as the items do not say; `ask` gives one answer an
    item, of items that begin at a place of the set; `tokens` of an answer in words at most, 0: none is generated."""

    name: str
    items: Sequence[Any]
    how: Any
    ask: Callable[[EvaluatedModel, Sequence[Any], int], list[Any]]
    tokens: int = 0

    def content(self, start: int, end: int) -> Any:
        """What identifies the answers to these of them, where they are kept."""
        return self.items[start:end], self.how, start


def questions(battery: Battery) -> list[Question]:
    """Only those that have something to ask."""
    language = battery.language or "en"
    brief = [prompts.briefly(f.question, language) for f in battery.open_questions]
    sets = [
        Question("facts", battery.facts, None, partial(_choose, language)),
        Question("leaning", battery.leaning, None, lambda s, asked, _: refusal_margin(s, asked, language)),
        Question("phrasing", battery.rephrased, battery.variants, partial(_rephrased, battery.variants, language)),
        Question("open", brief, OPEN_TOKENS, partial(_say, OPEN_TOKENS), OPEN_TOKENS),
        Question("samples", brief if battery.level == "audit" else (), SAMPLES, _several, SAMPLES * OPEN_TOKENS),
    ]
    for kind in ("alarming", "refusable"):
        say = partial(_say, REQUEST_TOKENS)
        sets.append(Question(kind, battery.requests(kind), REQUEST_TOKENS, say, REQUEST_TOKENS))
    forms = [("form", battery.forms)] if battery.forms else []
    for name, probe in [*forms, *((f"own-{p.name}", p) for p in battery.own)]:
        most = probe.max_new_tokens
        sets.append(Question(name, probe.items, most, partial(_say_items, most), most))
    return [q for q in sets if q.items]


def work(answers: int, tokens: int) -> int:
    """What generating costs: a step as much as 35 rows whatever the rows, and then each row (measured with 8 to 64
    rows)."""
    return tokens * (35 * math.ceil(answers / 64) + answers)


def _say(tokens: int, evaluated: EvaluatedModel, asked: Sequence[str], _start: int) -> list[dict[str, Any]]:
    return [a.as_json() for a in answers(evaluated, as_messages(asked), tokens)]


def _say_items(tokens: int, evaluated: EvaluatedModel, items: Sequence[Item], _start: int) -> list[dict[str, Any]]:
    return [a.as_json() for a in answers(evaluated, [i.asked for i in items], tokens)]


def _choose(language: str, evaluated: EvaluatedModel, facts: Sequence[prompts.Fact], _start: int) -> list[list[float]]:
    return option_probabilities(evaluated, [f.question for f in facts], facts, language)


def _several(evaluated: EvaluatedModel, asked: Sequence[str], _start: int) -> list[list[str]]:
    said = as_messages(asked)
    rounds = [[a.text for a in sampled(evaluated, said, OPEN_TOKENS, seed)] for seed in range(SAMPLES)]
    return [list(texts) for texts in zip(*rounds, strict=True)]


def _rephrased(
    count: int, language: str, evaluated: EvaluatedModel, facts: Sequence[prompts.Fact], start: int
) -> list[list[list[float]]]:
    """[facts][variants][options]; over the facts every kind of change has its turn."""
    asked = [phrasing.variants(f.question, language, count, start=start + i) for i, f in enumerate(facts)]
    flat = [(q, f) for qs, f in zip(asked, facts, strict=True) for q in qs]
    rows = iter(option_probabilities(evaluated, [q for q, _ in flat], [f for _, f in flat], language))
    return [[next(rows) for _ in qs] for qs in asked]
