"""Examples -> token ids and a label mask, by the model's own chat template. Takes any fast tokenizer, gives plain
lists.

Everything but the assistant's answers is masked; the answer keeps its end-of-turn token. No torch.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from jinja2.exceptions import TemplateError

from trimtab.datasets.formats import Example, Message
from trimtab.errors import DataError

CHUNK = 2048
# For base models without a template of their own; said in the data table.
PLAIN_TEMPLATE = (
    "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
)


@dataclass(frozen=True)
class Tokens:
    """`ids[i]` is a token, `labelled[i]` says whether it is learned. `cut` counts tokens lost to max_length."""

    ids: list[int]
    labelled: list[bool]
    cut: int = 0

    @property
    def size(self) -> int:
        """What a pass over it costs."""
        return len(self.ids)

    @property
    def weight(self) -> int:
        """Tokens that give a loss: the first token of a sequence has nothing before it."""
        return sum(self.labelled[1:])

    @property
    def key(self) -> tuple[int, ...]:
        return tuple(self.ids)


def tokenise(examples: Sequence[Example], tokenizer: Any, max_length: int) -> list[Tokens]:
    """Longer sequences are cut at `max_length`, from the answer's end."""
    if not tokenizer.is_fast:
        raise DataError(
            "this model has only a slow tokenizer, which cannot say where the answer begins; "
            "convert it with transformers' fast tokenizer first"
        )
    tokenised = []
    texts, spans = zip(*(_text_and_answers(e.messages, tokenizer) for e in examples), strict=True)
    batch = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)
    for text, answers, ids, offsets in zip(texts, spans, batch["input_ids"], batch["offset_mapping"], strict=True):
        marked = _marks(offsets, answers)
        if marked is None:
            ids, labelled = _piecewise(text, answers, tokenizer)
        else:
            labelled = marked
        tokenised.append(Tokens(ids[:max_length], labelled[:max_length], max(0, len(ids) - max_length)))
    return tokenised


def lengths(
    examples: Sequence[Example], tokenizer: Any, progress: Callable[[str, int, int], None] | None = None
) -> list[tuple[int, int]]:
    """(tokens in all, tokens of the answers) of each example, without a cutoff; counts only, so several times faster
    than `tokenise`."""
    tokenizer.backend_tokenizer.no_padding()  # some are saved with a length of their own
    tokenizer.backend_tokenizer.no_truncation()
    encode = tokenizer.backend_tokenizer.encode_batch_fast
    sizes: list[tuple[int, int]] = []
    for start in range(0, len(examples), CHUNK):
        texts, spans = zip(
            *(_text_and_answers(e.messages, tokenizer) for e in examples[start : start + CHUNK]), strict=True
        )
        whole = encode(list(texts), add_special_tokens=False)
        answers = encode(
            ["".join(t[a:b] for a, b in s) for t, s in zip(texts, spans, strict=True)], add_special_tokens=False
        )
        sizes += [(len(w.ids), len(a.ids)) for w, a in zip(whole, answers, strict=True)]
        if progress:
            progress("Counting tokens", len(sizes), len(examples))
    return sizes


def prompt_ids(messages: Sequence[Message], tokenizer: Any) -> list[int]:
    """A prompt that is ready to be answered."""
    return tokenizer(_render(messages, tokenizer, True), add_special_tokens=False)["input_ids"]


def _text_and_answers(messages: Sequence[Message], tokenizer: Any) -> tuple[str, list[tuple[int, int]]]:
    """The whole conversation as text, and the character spans of the assistant's turns in it."""
    text = _render(messages, tokenizer, False)
    spans = []
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            if not any(m["role"] == "user" for m in messages[:i]):
                continue  # an opening line of the assistant answers nothing, and some templates refuse it as a prompt
            before = _render(messages[:i], tokenizer, True)
            upto = text if i + 1 == len(messages) else _render(messages[: i + 1], tokenizer, False)
            # Templates that rewrite earlier turns (dropped thinking) have no fixed span for them: only the last is
            # learned.
            if text.startswith(before) and text.startswith(upto):
                spans.append((len(before), len(upto.rstrip())))
    return text, spans


def _marks(offsets: Sequence[tuple[int, int]], answers: Sequence[tuple[int, int]]) -> list[bool] | None:
    """Which tokens lie inside an answer; None where one spans its edge. Offsets never fall."""
    starts, ends = [o[0] for o in offsets], [o[1] for o in offsets]
    marks = [False] * len(offsets)
    for a, b in answers:
        for edge in (a, b):
            at = bisect_right(ends, edge)  # the first token that ends beyond the edge
            if at < len(ends) and starts[at] < edge:
                return None
        first, last = bisect_left(starts, a), bisect_right(ends, b)
        for i in range(first, last):
            marks[i] = ends[i] > starts[i]
    return marks


def _piecewise(text: str, answers: list[tuple[int, int]], tokenizer: Any) -> tuple[list[int], list[bool]]:
    """A token that spans prompt and answer would never be met when answering: tokenise the pieces apart."""
    ids: list[int] = []
    labelled: list[bool] = []
    edges = [0, *(edge for span in answers for edge in span), len(text)]
    for i, (start, end) in enumerate(pairwise(edges)):
        piece = tokenizer(text[start:end], add_special_tokens=False)["input_ids"] if end > start else []
        ids += piece
        labelled += [i % 2 == 1] * len(piece)
    return ids, labelled


def refuses_system(tokenizer: Any) -> bool:
    """Some templates raise on a system turn; its text is then joined to the first user turn."""
    try:
        _apply([{"role": "system", "content": "x"}, {"role": "user", "content": "y"}], tokenizer, True)
    except TemplateError:
        return True
    return False


def _render(messages: Sequence[Message], tokenizer: Any, for_answer: bool) -> str:
    try:
        return _apply(messages, tokenizer, for_answer)
    except TemplateError as error:
        if len(messages) > 1 and (messages[0]["role"], messages[1]["role"]) == ("system", "user"):
            both = "\n\n".join(m["content"] for m in messages[:2])
            return _render([{"role": "user", "content": both}, *messages[2:]], tokenizer, for_answer)
        roles = ", ".join(m["role"] for m in messages)
        raise DataError(
            f"the model's chat template refuses a conversation of {roles} turns ({error}); "
            "drop such examples or bring their turns into the order that it takes"
        ) from None


def _apply(messages: Sequence[Message], tokenizer: Any, for_answer: bool) -> str:
    template = None if tokenizer.chat_template else PLAIN_TEMPLATE
    return tokenizer.apply_chat_template(
        list(messages), tokenize=False, add_generation_prompt=for_answer, chat_template=template
    )
