"""The base's own answers to the prompts that remedies learn from, as training items. Takes an untouched base, gives
tokens; asked once, then kept."""

from __future__ import annotations

from pathlib import Path

from trimtab.behaviour.answering import EvaluatedModel, answers, spoken
from trimtab.behaviour.drift import answer_row
from trimtab.behaviour.kept import identity, remembered
from trimtab.datasets.tokens import Tokens, prompt_ids
from trimtab.probes.prompts import as_messages, remedy_prompts
from trimtab.tasks.language import LanguageBase

LONGEST = 40  # tokens of an answer: it is decided at the beginning whether it declines, and how it sounds


def own_answers(base: LanguageBase, language: str, max_length: int, keep: Path | None = None) -> list[Tokens]:
    """Prompt and greedy answer of each, the answer labelled; what leaves no room for an answer is left out. `keep`: the
    folder of what bases said before."""
    prompts, untouched = remedy_prompts("learn", language), EvaluatedModel(base)

    def ask() -> list[list[int]]:
        base.say(f"Asking the base model {len(prompts)} prompts for its own answers")
        return [spoken(a, base.tokenizer) for a in answers(untouched, as_messages(prompts), LONGEST)]

    said = remembered(keep, "own", identity(untouched), (prompts, LONGEST), ask)
    asked = [prompt_ids(m, base.tokenizer) for m in as_messages(prompts)]
    rows = [answer_row(p, a, max_length) for p, a in zip(asked, said, strict=True)]
    return [row for row in rows if row.weight]
