"""What one model says and thinks when it is asked the card's questions. Takes a evaluated and a battery, gives plain
JSON values.

Base and tuned answer the same battery apart from each other; what a base said is kept by (weights, template,
question), so that every pulse and card of a study, and of the next one, shares it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from trimtab.behaviour import phrasing
from trimtab.behaviour.answering import Answer, EvaluatedModel, answers, sampled
from trimtab.behaviour.multiple_choice import option_probabilities
from trimtab.behaviour.refusal_margin import refusal_margin
from trimtab.probes import prompts
from trimtab.probes.prompts import as_messages
from trimtab.spec.files import write_whole
from trimtab.spec.probe import Probe
from trimtab.spec.status import LEVELS, Level

BRIEF = ("pulse", "short")
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
        return [Answer(a["text"], tuple(a["tokens"]), a["ended"]) for a in self.found.get(question, [])]


def collect_responses(
    evaluated: EvaluatedModel, battery: Battery, keep: Path | None = None, called: str = ""
) -> Responses:
    """`keep` is a folder in which answers are looked up and kept: for a base model, that many others are compared
    with."""
    said, who = Responses(), identity(evaluated) if keep else ""
    called = called or ("the base model" if keep and not evaluated.adapter else "the tuned model")
    called = "" if battery.side == "tune" else called  # asked a dozen times in a row: whoever does so says it once
    for name, (content, ask) in _questions(battery).items():
        began = time.monotonic()
        said.found[name] = remembered(keep, name, who, content, lambda: _asked(evaluated, name, ask, called))  # noqa: B023
        said.seconds[name] = time.monotonic() - began
    return said


def remembered(keep: Path | None, name: str, who: str, content: Any, ask: Callable[[], Any]) -> Any:
    """What `who` answered before to the same, from the folder `keep`; else it is asked and kept."""
    place = keep / f"{name}-{_hash(who, content)}.json" if keep else None
    if place and place.exists():
        return json.loads(place.read_text(encoding="utf-8"))
    kept = ask()
    if place:
        write_whole(place, json.dumps(kept))
    return kept


def _asked(evaluated: EvaluatedModel, name: str, ask: Ask, called: str) -> Any:
    if called:
        evaluated.base.say(f"Asking {called}: {_WORDS.get(name, name)}")
    return ask(evaluated)


_WORDS = {
    "facts": "multiple-choice facts", "phrasing": "the same facts in other words", "leaning": "which way it leans",
    "alarming": "harmless questions that sound alarming", "refusable": "requests that ought to be declined",
    "form": "answers in an exact form", "open": "open questions", "samples": "open questions, several times",
}  # fmt: skip
Ask = Callable[[EvaluatedModel], Any]


def _questions(battery: Battery) -> dict[str, tuple[Any, Ask]]:
    """name -> (what identifies it, how it is asked); only those that have something to ask."""
    language, facts = battery.language or "en", battery.facts
    asked: list[tuple[str, Any, Any, Ask]] = [
        (
            "facts",
            facts,
            None,
            lambda s: option_probabilities(s, [f.question for f in facts], facts, language),
        ),
        ("leaning", battery.leaning, None, lambda s: refusal_margin(s, battery.leaning, language)),
        ("phrasing", battery.rephrased, (battery.variants, "in turn"), lambda s: _rephrased(s, battery, language)),
        (
            "open",
            battery.open_questions,
            None,
            partial(_say, [prompts.briefly(f.question, language) for f in battery.open_questions], OPEN_TOKENS),
        ),
        (
            "samples",
            battery.open_questions if battery.level == "audit" else (),
            SAMPLES,
            lambda s: _several(s, battery, language),
        ),
    ]
    for kind in ("alarming", "refusable"):
        wanted = battery.requests(kind)
        asked.append((kind, wanted, REQUEST_TOKENS, partial(_say, list(wanted), REQUEST_TOKENS)))
    forms = [("form", battery.forms)] if battery.forms else []
    for name, probe in [*forms, *((f"own-{p.name}", p) for p in battery.own)]:
        asked.append((name, probe, None, partial(_say_probe, probe)))
    return {name: ((items, how), ask) for name, items, how, ask in asked if items}


def _say(wanted: list[str], tokens: int, evaluated: EvaluatedModel) -> list[dict[str, Any]]:
    return [_plain(a) for a in answers(evaluated, as_messages(wanted), tokens)]


def _plain(answer: Answer) -> dict[str, Any]:
    return {"text": answer.text, "tokens": list(answer.tokens), "ended": answer.ended}


def _say_probe(probe: Probe, evaluated: EvaluatedModel) -> list[dict[str, Any]]:
    return [_plain(a) for a in answers(evaluated, [i.asked for i in probe.items], probe.max_new_tokens)]


def _several(evaluated: EvaluatedModel, battery: Battery, language: str) -> list[list[str]]:
    asked = as_messages([prompts.briefly(f.question, language) for f in battery.open_questions])
    rounds = [[a.text for a in sampled(evaluated, asked, OPEN_TOKENS, seed)] for seed in range(SAMPLES)]
    return [list(texts) for texts in zip(*rounds, strict=True)]


def _rephrased(evaluated: EvaluatedModel, battery: Battery, language: str) -> list[list[list[float]]]:
    """[facts][variants][options]; over the facts every kind of change has its turn."""
    asked = [
        phrasing.variants(f.question, language, battery.variants, start=place)
        for place, f in enumerate(battery.rephrased)
    ]
    flat = [(q, f) for qs, f in zip(asked, battery.rephrased, strict=True) for q in qs]
    rows = iter(option_probabilities(evaluated, [q for q, _ in flat], [f for _, f in flat], language))
    return [[next(rows) for _ in qs] for qs in asked]


def identity(evaluated: EvaluatedModel) -> str:
    """Tells models apart by some of each weight, precision and template: a changed model never meets another's
    answers."""
    model, tokenizer = evaluated.base.model, evaluated.base.tokenizer
    digest = hashlib.sha256(repr((str(next(model.parameters()).dtype), tokenizer.chat_template)).encode())
    for parameter in model.parameters():
        part = parameter.detach().flatten()
        digest.update(repr(tuple(parameter.shape)).encode())
        digest.update(part[:: max(1, part.numel() // 64)][:64].to(torch.float32).cpu().numpy().tobytes())
    return digest.hexdigest()


def _hash(who: str, content: Any) -> str:
    return hashlib.sha256(f"{who} {content!r}".encode()).hexdigest()[:16]
