"""Rows -> examples. Detects the form (alpaca, sharegpt, OpenAI messages, prompt/completion, text/label) and says
which it was.

Takes raw rows, gives Examples: conversations whose last turn is the assistant's. Must not tokenise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trimtab.datasets.columns import asked_in, pair_of
from trimtab.errors import DataError

Message = dict[str, str]


@dataclass(frozen=True)
class Example:
    """A conversation; the last message is the answer that is scored."""

    messages: tuple[Message, ...]

    @property
    def prompt(self) -> tuple[Message, ...]:
        """All messages but the answer."""
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        """The last message's text."""
        return self.messages[-1]["content"]

    @property
    def text(self) -> str:
        """All messages' texts, a line each."""
        return "\n".join(m["content"] for m in self.messages if m["role"] != "system")


_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_call": "assistant",
}
FORMS = (
    "alpaca (instruction, output), sharegpt (conversations), messages (messages), prompt/completion (prompt,"
    " completion), text/label (text, label), pairs (prompt, chosen, rejected; the chosen answer counts)"
)


def detect(rows: list[dict[str, Any]], name: str) -> str:
    """The name of the form that the columns of the first row show."""
    columns = set(rows[0])
    if isinstance(rows[0].get("messages"), list):
        return "messages"
    if isinstance(rows[0].get("conversations"), list):
        return "sharegpt"
    if {"instruction", "output"} <= columns:
        return "alpaca"
    if isinstance(rows[0].get("chosen"), list) and "prompt" not in columns:
        return "chosen"
    if pair := pair_of(columns):
        return "/".join(pair)
    raise DataError(
        f"{name} has the columns {', '.join(sorted(columns))}, which is none of the known forms: {FORMS}; name the two"
        f" that count behind it: {name}#ASKED,ANSWERED"
    )


def to_examples(rows: list[dict[str, Any]], name: str) -> tuple[str, list[Example], int]:
    """(form, usable examples, number of rows dropped because prompt or answer was empty)."""
    form = detect(rows, name)
    convert = _converter(form)
    examples, dropped = [], 0
    for i, row in enumerate(rows):
        try:
            messages = _until_last_answer(convert(row))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(
                f"{name}, example {i + 1} is not of the {form} form that the columns of the first one show ({error})"
            ) from None
        usable = messages and messages[-1]["content"].strip() and any(m["role"] == "user" for m in messages)
        if usable:
            examples.append(Example(tuple(messages)))
        else:
            dropped += 1
    if not examples:
        raise DataError(f"{name}: all {len(rows)} examples have an empty prompt or answer; nothing to learn from")
    return form, examples, dropped


def _converter(form: str) -> Callable[[dict[str, Any]], list[Message]]:
    if form == "messages":
        return lambda row: [_turn(m["role"], m["content"]) for m in row["messages"]]
    if form == "sharegpt":
        return lambda row: _system(row) + [_turn(m["from"], m["value"]) for m in row["conversations"]]
    if form == "chosen":
        return lambda row: [_turn(m["role"], m["content"]) for m in row["chosen"]]
    if form == "alpaca":
        return _alpaca
    prompt, answer = form.rsplit("/", 1)
    return lambda row: _system(row) + _side(asked_in(row, prompt), "user") + _side(_label(row[answer]), "assistant")


def _alpaca(row: dict[str, Any]) -> list[Message]:
    extra = (row.get("input") or "").strip()
    turns = _system(row)
    for asked, answered in row.get("history") or []:
        turns += [_turn("user", asked), _turn("assistant", answered)]
    return [
        *turns,
        _turn("user", (row["instruction"] or "") + (f"\n{extra}" if extra else "")),
        _turn("assistant", row["output"]),
    ]


def _system(row: dict[str, Any]) -> list[Message]:
    text = row.get("system")
    return [_turn("system", text)] if isinstance(text, str) and text.strip() else []


def _label(value: Any) -> Any:
    """Answers are often numbers; what is learned is their text."""
    return str(value) if isinstance(value, bool | int | float) else value


def _side(value: Any, role: str) -> list[Message]:
    """A prompt or completion is text or already a list of messages."""
    if isinstance(value, list):
        return [_turn(m["role"], m["content"]) for m in value]
    return [_turn(role, value)]


def _turn(role: str, content: Any) -> Message:
    if role not in _ROLES:
        raise KeyError(f"unknown role {role!r}")
    if content is not None and not isinstance(content, str):
        raise TypeError(f"a message's content must be text, got {type(content).__name__}")
    return {"role": _ROLES[role], "content": content or ""}


def _until_last_answer(messages: list[Message]) -> list[Message]:
    while messages and messages[-1]["role"] != "assistant":
        messages = messages[:-1]
    return messages
