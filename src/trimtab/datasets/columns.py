"""Which two columns are asked and answered: by their names, or as a person says behind the file, as in
`my.csv#frage,antwort`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trimtab.errors import DataError, did_you_mean

# Pairs first, as published data sets have them; then any name that asks beside any that answers.
PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("query", "response"),
    ("input", "output"),
    ("text", "label"),
    ("sentence", "label"),
    ("prompt", "chosen"),
)
ASKED = ("prompt", "question", "query", "instruction", "input", "request", "message", "utterance", "sentence", "text",
         "source", "user")  # fmt: skip
ANSWERED = ("completion", "response", "answer", "reply", "output", "target", "label", "summary", "assistant",
            "intent", "category", "class")  # fmt: skip


def pair_of(columns: set[str]) -> tuple[str, str] | None:
    """(asked, answered) as the columns spell them, capitals apart; None where no two names are known."""
    spelled = {c.lower(): c for c in columns if isinstance(c, str)}
    for asked, answered in (*PAIRS, *((a, b) for a in ASKED for b in ANSWERED)):
        if asked in spelled and answered in spelled:
            return spelled[asked], spelled[answered]
    return None


def split_name(data: str) -> tuple[str, tuple[str, str] | None]:
    """DATA as typed -> (the file or folder, the columns that were named behind it)."""
    file, mark, named = data.rpartition("#")
    if not mark or Path(data).expanduser().exists():
        return data, None
    columns = [c.strip() for c in named.split(",")]
    if len(columns) != 2 or not all(columns):
        raise DataError(
            f'{data}: got "{named}" behind the #; name two columns, the asked and the answered: {file}#asked,answered'
        )
    return file, (columns[0], columns[1])


def renamed(rows: list[dict[str, Any]], columns: tuple[str, str], name: str) -> list[dict[str, Any]]:
    """The rows with the named columns as prompt and completion; `system` stays."""
    there = list(rows[0])
    for column in columns:
        if column not in there:
            raise DataError(f'{name} has no column "{column}"{did_you_mean(column, there)}; it has {", ".join(there)}')
    asked, answered = columns
    keep = lambda row: {"system": row["system"]} if isinstance(row.get("system"), str) else {}  # noqa: E731
    return [{**keep(row), "prompt": row.get(asked), "completion": row.get(answered)} for row in rows]
