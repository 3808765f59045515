"""Which two columns are asked and answered: by their names, or as a person says behind the file, as in
`my.csv#frage,antwort`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from string import Formatter
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


NAMES_ASKED, NAMES_ANSWERED = ("prompt", "text", "image"), ("answer", "label", "completion")


def columns_told(told: str | None) -> list[str]:
    """What --columns says, one setting each: "prompt=question,answer=reply" is two."""
    return re.split(rf",\s*(?=(?:{'|'.join((*NAMES_ASKED, *NAMES_ANSWERED))})=)", told) if told else []


def with_columns(data: str, own: Mapping[str, Any] | Sequence[str]) -> tuple[str, dict[str, Any] | list[str]]:
    """(data with the columns named behind it, the other settings), where settings such as text=COLUMN label=COLUMN or
    prompt=COLUMN answer=COLUMN are among a person's own. DataError where only one of the two is named."""
    pairs = dict(own) if isinstance(own, Mapping) else dict(s.partition("=")[::2] for s in own)
    asked, answered = ([k for k in names if k in pairs] for names in (NAMES_ASKED, NAMES_ANSWERED))
    named = {*asked, *answered}
    rest: Any = (
        {k: v for k, v in own.items() if k not in named}
        if isinstance(own, Mapping)
        else [s for s in own if s.partition("=")[0] not in named]
    )
    if not named:
        return data, rest
    if len(asked) != 1 or len(answered) != 1:
        raise DataError(
            f"got {', '.join(f'{k}={pairs[k]}' for k in pairs if k in named)}; name the two columns that are asked and"
            " answered, as in text=COLUMN label=COLUMN or prompt=COLUMN answer=COLUMN"
        )
    if split_name(data)[1]:
        raise DataError(f"{data} names its columns already; leave {asked[0]}= and {answered[0]}= out")
    return f"{data}#{pairs[asked[0]]},{pairs[answered[0]]}", rest


def split_name(data: str) -> tuple[str, tuple[str, str] | None]:
    """DATA as typed -> (the file or folder, the columns that were named behind it)."""
    places = [i for i, c in enumerate(data) if c == "#"]
    if not places or Path(data).expanduser().exists():
        return data, None
    at = next((i for i in places if Path(data[:i]).expanduser().exists()), places[0 if "{" in data else -1])
    file, named = data[:at], data[at + 1 :]  # a template may have such marks of its own
    asked, _, answered = named.rpartition(",")  # a template may have commas of its own
    columns = [asked.strip(), answered.strip()]
    if not all(columns) or ("," in asked and "{" not in asked):
        raise DataError(
            f'{data}: got "{named}" behind the #; name two columns, the asked and the answered: {file}#asked,answered,'
            f" or a template and a column: {file}#{{title}}: {{text}},answered"
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
    """The columns that "premise+hypothesis" or "{title}: {body}" names; a column of that very name is itself."""
    if asked in there:
        return [asked]
    return _fields(asked) if "{" in asked else [part.strip() for part in asked.split("+")]


def _fields(template: str) -> list[str]:
    try:
        found = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise DataError(f'the template "{template}" cannot be read ({error}); write columns as {{name}}') from None
    if not all(found) or not found:
        raise DataError(f'the template "{template}" has braces without a column in them; write columns as {{name}}')
    return found


def asked_in(row: Mapping[str, Any], asked: str) -> Any:
    """What a row asks: a column's value, a template that is filled in, or two texts with MARK between; None where one
    of them has none."""
    parts = parts_of(asked, row)
    if len(parts) == 1 and "{" not in asked:
        return row.get(parts[0])
    texts = [row.get(p) for p in parts]
    if asked not in row and "{" in asked:
        return _filled(asked, dict(zip(parts, texts, strict=True)))
    return f"\n{MARK}\n".join(map(str, texts)) if all(isinstance(t, str) and t.strip() for t in texts) else None


def _filled(template: str, values: Mapping[str, Any]) -> str | None:
    """Written out piece by piece: a text with braces of its own stays as it is."""
    if any(v is None or not str(v).strip() for v in values.values()):
        return None
    pieces = Formatter().parse(template.replace("\\n", "\n"))
    return "".join(fixed + ("" if name is None else str(values[name])) for fixed, name, _, _ in pieces)


def apart(text: str) -> list[str]:
    """The texts that MARK stands between, or the one."""
    return [part.strip() for part in text.split(MARK, 1)]
