"""What every model is asked, whatever its task: neutral prompts and human text. Takes a language, gives text. No torch."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

CARD_PROMPTS = 24  # at least; more where a limit can only be shown with more
PULSE_PROMPTS = 8
PULSE_TOKENS = 16  # of the base model's own answer, teacher-forced
CARD_TOKENS = 64
TEXTS = 16
TEXT_TOKENS = 96


@cache
def generic_prompts(language: str = "en") -> tuple[str, ...]:
    """About 300: those written one by one first, then every form of question over every topic."""
    held = json.loads((Path(__file__).parent / "generic_prompts.json").read_text(encoding="utf-8"))
    forms, topics = held[f"{language}_forms"], held[f"{language}_topics"]
    made = [forms[(i + shift) % len(forms)].format(t) for shift in range(len(forms)) for i, t in enumerate(topics)]
    return (*held[language], *made)


@cache
def generic_texts() -> tuple[str, ...]:
    """Paragraphs of English prose by people: Python's own language reference, which every CPython carries (PSF licence)."""
    from pydoc_data.topics import topics

    found = []
    for name in sorted(topics):
        for block in topics[name].split("\n\n"):
            text = re.sub(r"\s+", " ", block).strip()
            # prose only: long enough, ends like a sentence, hardly any markup
            if (
                len(text) > 450
                and text.endswith(".")
                and len(re.findall(r"[\"*_`=|<>{}\[\]()]", text)) < 0.02 * len(text)
            ):
                found.append(text)
                break
    return tuple(found[:: max(1, len(found) // TEXTS)][:TEXTS])


def looks_chinese(text: str) -> bool:
    return len(re.findall(r"[一-鿿]", text)) > 0.1 * max(1, len(text))
