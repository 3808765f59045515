"""Which two columns are asked and answered: by their names, or as a person says behind the file, as in
`my.csv#frage,antwort`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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


# Two texts of which a label says how they stand to each other.
BESIDE = (
    ("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"), ("question", "sentence"),
    ("text1", "text2"), ("text_a", "text_b"), ("query", "passage"),
)  # fmt: skip
VERDICTS = ("label", "gold_label", "is_duplicate")
MARK = "\u241e"  # between two texts in one, where no text has it


def pair_of(columns: set[str]) -> tuple[str, str] | None:
    """(asked, answered) as the columns spell them, capitals apart; None where no two names are known. Two texts that
    are asked together are FIRST+SECOND."""
    spelled = {c.lower(): c for c in columns if isinstance(c, str)}
    for first, second in BESIDE:
        label = next((spelled[v] for v in VERDICTS if v in spelled), None)
        if first in spelled and second in spelled and label is not None:
            return f"{spelled[first]}+{spelled[second]}", label
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
    asked, answered = columns
    for column in (*parts_of(asked, there), answered):
        if column not in there:
            raise DataError(f'{name} has no column "{column}"{did_you_mean(column, there)}; it has {", ".join(there)}')
    keep = lambda row: {"system": row["system"]} if isinstance(row.get("system"), str) else {}  # noqa: E731
    return [{**keep(row), "prompt": asked_in(row, asked), "completion": row.get(answered)} for row in rows]


def parts_of(asked: str, there: Collection[str]) -> list[str]:
    """The columns that "premise+hypothesis" names; a column of that very name is itself."""
    return [asked] if asked in there else [part.strip() for part in asked.split("+")]


def asked_in(row: Mapping[str, Any], asked: str) -> Any:
    """What a row asks: a column's value, or two texts with MARK between; None where one of the two has none."""
    parts = parts_of(asked, row)
    if len(parts) == 1:
        return row.get(parts[0])
    texts = [row.get(p) for p in parts]
    return f"\n{MARK}\n".join(map(str, texts)) if all(isinstance(t, str) and t.strip() for t in texts) else None


def apart(text: str) -> list[str]:
    """The texts that MARK stands between, or the one."""
    return [part.strip() for part in text.split(MARK, 1)]
