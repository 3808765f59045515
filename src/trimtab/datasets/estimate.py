"""How many tokens a conversation has where there is no tokenizer: counted by pieces, as byte-level BPE cuts text.

The weights are fits to real tokenizers on ten kinds of text (prose, markup, code, JSON, questions): SmolLM2's for
small vocabularies; Qwen's, checked on Llama 3's and 4's, for large ones. Median error of a text 0 to 5 % (one-line
records 8 %, Chinese commands 10 to 21 %); of a conversation, whose template is counted too, 4 %
(bench/token_estimate.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from trimtab.datasets.formats import Example

MARGIN = 1.25  # a cutoff is set this far above an estimate: another tokenizer may cut finer
_PIECE = re.compile(r" ?[A-Za-z\u00c0-\u024f]+|\d| ?[^\w\s]+|\s+(?=\s)|\s+|\S")


@dataclass(frozen=True)
class Weights:
    """Tokens of a word of up to six letters and of each letter more, of a digit (a space before one stands alone), of
    a mark and each that follows at once, of other white space, of a Chinese character."""

    word: float
    letter: float
    digit: float
    mark: float
    next_mark: float
    space: float
    character: float


SMALL = Weights(1.03, 0.065, 1.0, 0.72, 0.9, 1.1, 1.85)
LARGE = Weights(1.02, 0.075, 1.0, 0.65, 0.6, 0.87, 0.66)
TURN = 5  # <start> role newline … <end> newline, of ChatML and Llama alike
# The system prompt that a model's template adds where a conversation has none; the first name that fits.
_SYSTEM = {
    "smollm2": "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
    "qwen2.5": "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
    "qwen2": "You are a helpful assistant.",
    "qwen1.5": "You are a helpful assistant.",
    "llama-3.": "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n",
}
SMALL_VOCABULARY = 65_000  # entries; below, words break more often and Chinese characters are spelled byte by byte


@dataclass(frozen=True)
class Estimate:
    """What is known of a tokenizer that is not there: its model's name, and how many entries it has."""

    model: str = ""
    vocabulary: int | None = None

    def lengths(self, example: Example) -> tuple[int, int]:
        """(tokens in all, tokens that are learned) of a conversation in its template."""
        sizes = [(self.text(m["content"]) + TURN, m["role"] == "assistant") for m in example.messages]
        told = any(m["role"] == "system" for m in example.messages)
        added = next((s for name, s in _SYSTEM.items() if name in self.model.lower()), "")
        whole = sum(n for n, _ in sizes) + (self.text(added) + TURN if added and not told else 0)
        return whole, sum(n - TURN + 1 for n, answer in sizes if answer)  # of its frame only the end is learned

    def text(self, text: str) -> int:
        """Tokens of one text without a frame."""
        return round(sum(_piece(m.group(), self.weights) for m in _PIECE.finditer(text)))

    @property
    def weights(self) -> Weights:
        """Of a large vocabulary where its size is not known, as today's models have."""
        return SMALL if self.vocabulary is not None and self.vocabulary < SMALL_VOCABULARY else LARGE


UNKNOWN = Estimate()


def _piece(piece: str, w: Weights) -> float:
    bare = piece.strip()
    if not bare:
        return 1.0 if piece == " " else w.space
    if bare[0] > "\u024f":
        return w.character * len(bare)
    if bare[0].isdigit():
        return w.digit
    if bare[0].isalpha():
        return w.word + w.letter * max(0, len(bare) - 6)
    return w.mark + w.next_mark * (len(bare) - 1)
