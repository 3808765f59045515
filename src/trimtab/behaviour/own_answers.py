"""The base's own answers to the prompts that remedies learn from, as training items. Takes an untouched base, gives
tokens; asked once, then kept."""

from __future__ import annotations

from trimtab.behaviour.answering import EvaluatedModel, answers
from trimtab.behaviour.responses import identity, remembered
from trimtab.datasets.assets import cache_folder
from trimtab.datasets.tokens import Tokens, prompt_ids
from trimtab.probes.prompts import as_messages, remedy_prompts
from trimtab.tasks.language import LanguageBase

LONGEST = 40  # tokens of an answer: it is decided at the beginning whether it declines, and how it sounds
KEEP = "base-says"


def own_answers(base: LanguageBase, language: str, max_length: int) -> list[Tokens]:
    """Prompt and greedy answer of each, the answer labelled; what leaves no room for an answer is left out."""
    prompts, untouched = remedy_prompts("learn", language), EvaluatedModel(base)

    def ask() -> list[list[int]]:
        base.say(f"Asking the base model {len(prompts)} prompts for its own answers")
        end = base.tokenizer.eos_token_id
        said = answers(untouched, as_messages(prompts), LONGEST)
        return [[*a.tokens, *([end] if a.ended else [])] for a in said]

    said = remembered(cache_folder() / KEEP, "own", identity(untouched), (prompts, LONGEST), ask)
    asked = [prompt_ids(m, base.tokenizer) for m in as_messages(prompts)]
    rows = [_row(p, a, max_length) for p, a in zip(asked, said, strict=True)]
    return [row for row in rows if row.weight]


def _row(prompt: list[int], answer: list[int], max_length: int) -> Tokens:
    labelled = [False] * len(prompt) + [True] * len(answer)
    return Tokens([*prompt, *answer][:max_length], labelled[:max_length])
