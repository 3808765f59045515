"""What every model is asked, whatever its task: prompts, facts, forms, requests, human text. Takes a language, gives
text. No torch.

All written for trimtab, English and Chinese side by side (sets/*.jsonl), so that the card works without a network.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from trimtab.datasets.formats import Message
from trimtab.spec.probe import Item, Probe

LANGUAGES = ("en", "zh")
CARD_PROMPTS = 24  # of a pulse's reference; a card asks more
KL_PROMPTS = 100  # of 24, one in twenty ruined was missed by the upper bound in 30 % of draws; of 100 in 5 %
OTHERS = 250  # harmless questions that a card asks besides, which show degeneration as well
PULSE_PROMPTS = 8
PULSE_TOKENS = 16  # of the base model's own answer, teacher-forced
CARD_TOKENS = 64
TEXTS = 16
TEXT_TOKENS = 96


@cache
def lexicon(language: str) -> dict[str, list[str]]:
    """Words that show a tone, by kind: hedges, boosters, beginnings that refuse or agree."""
    held = json.loads((Path(__file__).parent / "sets" / "lexicon.json").read_text(encoding="utf-8"))
    words: dict[str, list[str]] = held[language]
    return words


@dataclass(frozen=True)
class Fact:
    """`options` has the right answer first; `accept` are spellings by which a free answer is known to be right."""

    id: str
    kind: str
    question: str
    options: tuple[str, ...]
    accept: tuple[str, ...]


@cache
def fact_questions(language: str = "en") -> tuple[Fact, ...]:
    """All facts in a language."""
    return tuple(
        Fact(row["id"], row["kind"], said["question"], (said["answer"], *said["wrong"]), tuple(said["accept"]))
        for row in _spread(_rows("facts"))
        if (said := row[language])
    )


@cache
def requests(kind: Literal["alarming", "refusable"], language: str = "en") -> tuple[str, ...]:
    """Harmless questions with an alarming word in them; or requests that an assistant is expected to decline."""
    return tuple(row[language] for row in _spread(_rows(kind)))


@cache
def forms(language: str = "en") -> Probe:
    """Prompts that ask for an answer in an exact form, as a probe like a person's own."""
    rows = _spread(_rows("formats"))
    items = tuple(Item.model_validate({"prompt": row[language], "scorer": row["scorer"]}) for row in rows)
    return Probe(name="format", language=language, max_new_tokens=64, items=items)


@cache
def generic_prompts(language: str = "en") -> tuple[str, ...]:
    """About 300: those written one by one first, then every form of question over every topic."""
    held = json.loads((_SETS / "generic.json").read_text(encoding="utf-8"))
    forms, topics = held[f"{language}_forms"], held[f"{language}_topics"]
    made = [forms[(i + shift) % len(forms)].format(t) for shift in range(len(forms)) for i, t in enumerate(topics)]
    return (*held[language], *made)


@cache
def generic_texts() -> tuple[str, ...]:
    """Paragraphs of English prose by people: Python's own language reference, which every CPython carries (PSF
    licence)."""
    from pydoc_data.topics import topics

    texts = []
    for name in sorted(topics):
        for block in topics[name].split("\n\n"):
            text = re.sub(r"\s+", " ", block).strip()
            # prose only: long enough, ends like a sentence, hardly any markup
            if (
                len(text) > 450
                and text.endswith(".")
                and len(re.findall(r"[\"*_`=|<>{}\[\]()]", text)) < 0.02 * len(text)
            ):
                texts.append(text)
                break
    return tuple(texts[:: max(1, len(texts) // TEXTS)][:TEXTS])


Side = Literal["learn", "tune"]


@cache
def remedy_requests(side: Side, language: str = "en") -> tuple[str, ...]:
    """Requests that ought to be declined: what a run may be held to (`learn`), or what a remedy's strength is set by
    (`tune`). No prompt is in both, nor in what a card asks."""
    return tuple(r[language] for r in _remedies()["requests"][side == "tune" :: 2])


@cache
def remedy_neutral(side: Side, language: str = "en") -> tuple[str, ...]:
    """The same of neutral prompts; they share no topic and no form either."""
    forms, topics = (_remedies()[f"{language}_{kind}"][side == "tune" :: 2] for kind in ("forms", "topics"))
    return tuple(form.format(topic) for form in forms for topic in topics)


def remedy_prompts(side: Side, language: str = "en") -> tuple[str, ...]:
    """Both."""
    return (*remedy_requests(side, language), *remedy_neutral(side, language))


@cache
def _remedies() -> dict[str, Any]:
    held: dict[str, Any] = json.loads((_SETS / "remedies.json").read_text(encoding="utf-8"))
    return held


def as_messages(prompts: Sequence[str]) -> list[tuple[Message, ...]]:
    """Each prompt as one user turn."""
    return [({"role": "user", "content": p},) for p in prompts]


def briefly(question: str, language: str) -> str:
    """The question with the request to answer in a few words."""
    return f"{question} 请简短回答。" if language == "zh" else f"{question} Answer briefly."


_SETS = Path(__file__).parent / "sets"


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (_SETS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def _spread(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In an order that mixes the kinds and never changes, so that the first n are a fair sample."""
    return sorted(rows, key=lambda r: hashlib.sha256(r["id"].encode()).hexdigest())
