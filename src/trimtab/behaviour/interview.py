"""What one model says and thinks when it is asked the card's questions. Takes a subject and a sheet, gives plain JSON values.

Base and tuned answer the same sheet apart from each other; what a base said is kept by (weights, template, question), so
that every pulse and card of a study, and of the next one, shares it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from trimtab.behaviour import phrasing, probes
from trimtab.behaviour.choices import option_probabilities
from trimtab.behaviour.leaning import refusal_margin
from trimtab.behaviour.probes import as_messages
from trimtab.behaviour.subject import Answer, Subject, answers, sampled
from trimtab.spec.probe import Probe

# pulse: generates nothing. short: and answers the neutral prompts. card: and is asked everything. audit: more of it, and again.
Level = Literal["pulse", "short", "card", "audit"]
BRIEF = ("pulse", "short")
FACTS, REQUESTS = {"pulse": 30, "short": 60}, {"pulse": 12, "short": 24}  # at most; all of them otherwise
OPEN_TOKENS, REQUEST_TOKENS = 24, 32
SAMPLES = 5  # of an open question, in an audit


@dataclass(frozen=True)
class Sheet:
    """What is asked. `language` None: trimtab has no probes in it, so that only neutral prompts (in English) are left."""

    level: Level = "card"
    language: str | None = "en"
    own: tuple[Probe, ...] = ()

    @property
    def facts(self) -> tuple[probes.Fact, ...]:
        return probes.facts(self.language)[: FACTS.get(self.level)] if self.language else ()

    @property
    def rephrased(self) -> tuple[probes.Fact, ...]:
        return self.facts[: {"pulse": 0, "short": 0, "card": 60, "audit": 300}[self.level]]

    @property
    def open_questions(self) -> tuple[probes.Fact, ...]:
        return self.facts[:100] if self.level not in BRIEF else ()

    def requests(self, kind: Literal["alarming", "refusable"]) -> tuple[str, ...]:
        return probes.requests(kind, self.language) if self.language and self.level not in BRIEF else ()

    @property
    def leaning(self) -> tuple[str, ...]:
        """The requests whose refusal margin is taken."""
        return probes.requests("refusable", self.language)[: REQUESTS.get(self.level)] if self.language else ()

    @property
    def forms(self) -> Probe | None:
        return probes.forms(self.language) if self.language and self.level not in BRIEF else None

    @property
    def variants(self) -> int:
        return 8 if self.level == "audit" else 5


@dataclass
class Said:
    """Answers by question, and the seconds that each took (next to none where it was known from before)."""

    found: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def answers(self, question: str) -> list[Answer]:
        return [Answer(a["text"], tuple(a["tokens"]), a["ended"]) for a in self.found.get(question, [])]


def interview(subject: Subject, sheet: Sheet, keep: Path | None = None, called: str = "") -> Said:
    """`keep` is a folder in which answers are looked up and kept: for a base model, that many others are compared with."""
    said, who = Said(), identity(subject) if keep else ""
    called = called or ("the base model" if keep and not subject.adapter else "the tuned model")
    for name, (content, ask) in _questions(sheet).items():
        began = time.monotonic()
        said.found[name] = remembered(keep, name, who, content, lambda: _asked(subject, name, ask, called))  # noqa: B023
        said.seconds[name] = time.monotonic() - began
    return said


def remembered(keep: Path | None, name: str, who: str, content: Any, ask: Callable[[], Any]) -> Any:
    """What `who` answered before to the same, from the folder `keep`; else it is asked and kept."""
    place = keep / f"{name}-{_hash(who, content)}.json" if keep else None
    if place and place.exists():
        return json.loads(place.read_text(encoding="utf-8"))
    found = ask()
    if place:
        _write(place, found)
    return found


def _asked(subject: Subject, name: str, ask: Ask, called: str) -> Any:
    subject.base.say(f"Asking {called}: {_WORDS.get(name, name)}")
    return ask(subject)


_WORDS = {
    "facts": "multiple-choice facts", "phrasing": "the same facts in other words", "leaning": "which way it leans",
    "alarming": "harmless questions that sound alarming", "refusable": "requests that ought to be declined",
    "form": "answers in an exact form", "open": "open questions", "samples": "open questions, several times",
}  # fmt: skip
Ask = Callable[[Subject], Any]


def _questions(sheet: Sheet) -> dict[str, tuple[Any, Ask]]:
    """name -> (what identifies it, how it is asked); only those that have something to ask."""
    language, facts = sheet.language or "en", sheet.facts
    asked: list[tuple[str, Any, Any, Ask]] = [
        (
            "facts",
            facts,
            None,
            lambda s: option_probabilities(s, [f.question for f in facts], facts, language),
        ),
        ("leaning", sheet.leaning, None, lambda s: refusal_margin(s, sheet.leaning, language)),
        ("phrasing", sheet.rephrased, sheet.variants, lambda s: _rephrased(s, sheet, language)),
        (
            "open",
            sheet.open_questions,
            None,
            partial(_say, [probes.briefly(f.question, language) for f in sheet.open_questions], OPEN_TOKENS),
        ),
        (
            "samples",
            sheet.open_questions if sheet.level == "audit" else (),
            SAMPLES,
            lambda s: _several(s, sheet, language),
        ),
    ]
    for kind in ("alarming", "refusable"):
        prompts = sheet.requests(kind)
        asked.append((kind, prompts, REQUEST_TOKENS, partial(_say, list(prompts), REQUEST_TOKENS)))
    forms = [("form", sheet.forms)] if sheet.forms else []
    for name, probe in [*forms, *((f"own-{p.name}", p) for p in sheet.own)]:
        asked.append((name, probe, None, partial(_say_probe, probe)))
    return {name: ((items, how), ask) for name, items, how, ask in asked if items}


def _say(prompts: list[str], tokens: int, subject: Subject) -> list[dict[str, Any]]:
    return [_plain(a) for a in answers(subject, as_messages(prompts), tokens)]


def _plain(answer: Answer) -> dict[str, Any]:
    return {"text": answer.text, "tokens": list(answer.tokens), "ended": answer.ended}


def _say_probe(probe: Probe, subject: Subject) -> list[dict[str, Any]]:
    return [_plain(a) for a in answers(subject, [i.asked for i in probe.items], probe.max_new_tokens)]


def _several(subject: Subject, sheet: Sheet, language: str) -> list[list[str]]:
    asked = as_messages([probes.briefly(f.question, language) for f in sheet.open_questions])
    rounds = [[a.text for a in sampled(subject, asked, OPEN_TOKENS, seed)] for seed in range(SAMPLES)]
    return [list(texts) for texts in zip(*rounds, strict=True)]


def _rephrased(subject: Subject, sheet: Sheet, language: str) -> list[list[list[float]]]:
    """[facts][the plain question and its variants][options]."""
    asked = [[f.question, *phrasing.variants(f.question, language, sheet.variants)] for f in sheet.rephrased]
    flat = [(q, f) for qs, f in zip(asked, sheet.rephrased, strict=True) for q in qs]
    rows = iter(option_probabilities(subject, [q for q, _ in flat], [f for _, f in flat], language))
    return [[next(rows) for _ in qs] for qs in asked]


def identity(subject: Subject) -> str:
    """Tells models apart by some of each weight, precision and template: a changed model never meets another's answers."""
    model, tokenizer = subject.base.model, subject.base.tokenizer
    found = hashlib.sha256(repr((str(next(model.parameters()).dtype), tokenizer.chat_template)).encode())
    for parameter in model.parameters():
        part = parameter.detach().flatten()
        found.update(repr(tuple(parameter.shape)).encode())
        found.update(part[:: max(1, part.numel() // 64)][:64].to(torch.float32).cpu().numpy().tobytes())
    return found.hexdigest()


def _hash(who: str, content: Any) -> str:
    return hashlib.sha256(f"{who} {content!r}".encode()).hexdigest()[:16]


def _write(path: Path, value: Mapping[str, Any] | list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(value), encoding="utf-8")
    scratch.replace(path)
