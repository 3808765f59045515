"""Rows from a file, folder, hub id or bundled name. Takes a DATA argument, gives raw rows by split and where they
came from.

Must not interpret the rows (that is formats.py).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimtab.datasets import home_commands, hub, labelled_texts
from trimtab.datasets.assets import fetch
from trimtab.datasets.columns import renamed, split_name
from trimtab.errors import DataError, did_you_mean

_HALF = re.compile("[\\ud800-\\udfff]")
Rows = list[dict[str, Any]]
BUNDLED = {"home-commands": "en", "home-commands-zh": "zh-CN"}
INTENTS = {"home-intents": "en", "home-intents-zh": "zh-CN"}
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
# File names in a folder that say which split they are.
SPLIT_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation",
                "dev": "validation", "eval": "validation", "test": "test"}  # fmt: skip


@dataclass(frozen=True)
class RawData:
    """`rows` by split; only "train" is sure to be there."""

    name: str
    rows: dict[str, Rows]


def read(data: str, say: Callable[[str], None] = print) -> RawData:
    """Rows by split; columns that are named behind the file become prompt and completion. DataError where they
    cannot be read."""
    source, columns = split_name(data)
    raw = _read(source, say)
    if columns is None:
        return raw
    return RawData(data, {split: renamed(rows, columns, source) for split, rows in raw.rows.items() if rows})


def _read(data: str, say: Callable[[str], None]) -> RawData:
    if data.startswith("bundled:"):
        return _bundled(data, say)
    if data.startswith("sketch:"):
        raise DataError(
            f"{data} is a sketch without examples, which only trimtab plan can use; give a file, a folder or a hub id"
        )
    path = Path(data).expanduser()
    if path.is_dir():
        return _folder(path)
    if path.exists():
        return RawData(data, _file(path))
    if path.suffix.lower() in SUFFIXES or data.startswith((".", "/", "~")):
        raise DataError(
            f"{data} does not exist; give a {', '.join(SUFFIXES)} file, a folder, a hub id or bundled:home-commands"
        )
    return _hub(data)


def _bundled(data: str, say: Callable[[str], None]) -> RawData:
    name = data.removeprefix("bundled:")
    if name not in (known := (*BUNDLED, *INTENTS, *labelled_texts.NAMES)):
        raise DataError(
            f'there is no bundled data "{name}"{did_you_mean(name, known)} (there are: '
            + ", ".join(f"bundled:{b}" for b in known)
            + ")"
        )
    if name in labelled_texts.NAMES:
        return RawData(data, dict(labelled_texts.rows_by_split(name, fetch("labelled-texts", say))))
    if name in INTENTS:
        file = fetch("home-commands", say) / f"{INTENTS[name]}.json"
        return RawData(data, dict(home_commands.intents_by_split(file, INTENTS[name])))
    grammar = fetch("home-commands", say) / f"{BUNDLED[name]}.json"
    splits = home_commands.messages_by_split(grammar, BUNDLED[name])
    return RawData(data, {split: [{"messages": m} for m in rows] for split, rows in splits.items()})


def _folder(path: Path) -> RawData:
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f"{path} holds no {', '.join(SUFFIXES)} file, and no subfolders with pictures")
    rows: dict[str, Rows] = {}
    for file in files:
        named = SPLIT_NAMES.get(file.stem.split("-")[0].lower(), "train")
        for split, read in _file(file).items():
            rows.setdefault(named if split == "train" else split, []).extend(read)
    if "train" not in rows:
        raise DataError(
            f"{path} holds {', '.join(rows)} files but none to train on; name one of them train{files[0].suffix}"
        )
    return RawData(str(path), rows)


def _file(path: Path) -> dict[str, Rows]:
    """Rows by split: "train" alone, but for a JSON object that names its splits."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return {"train": _parquet(path)}
    if suffix not in SUFFIXES:
        raise DataError(f"{path} ends in {path.suffix or 'nothing'}; allowed are {', '.join(SUFFIXES)}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text (byte {error.start} is 0x{error.object[error.start]:02x}); "
            "save it as UTF-8 and try again"
        ) from None
    if not text.strip():
        raise DataError(f"{path} is empty; it needs at least one example")
    try:
        rows = (
            _json(text, path)
            if suffix == ".json"
            else {"train": {".jsonl": _jsonl, ".csv": _csv, ".tsv": _csv}[suffix](text, path)}
        )
    except RecursionError:
        raise DataError(f"{path} is nested too deeply to be a list of examples") from None
    if not rows.get("train"):
        raise DataError(f"{path} holds no rows to train on; it needs at least one example")
    return rows


def _jsonl(text: str, path: Path) -> Rows:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: U+2028 may stand inside a string
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}, line {number} is not JSON ({error.msg} at column {error.colno})") from None
            rows.append(_row(row, f"{path}, line {number}"))
    return rows


def _json(text: str, path: Path) -> dict[str, Rows]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if text.lstrip().startswith("{") and "\n" in text.strip():
            return {"train": _jsonl(text, path)}
        raise DataError(f"{path} is not JSON (line {error.lineno}: {error.msg})") from None
    parts = {"train": value}
    if isinstance(value, dict):
        lists = {k: v for k, v in value.items() if isinstance(v, list)}
        if "train" in lists:  # {"train": [...], "test": [...]}
            parts = {SPLIT_NAMES[k.lower()]: v for k, v in lists.items() if k.lower() in SPLIT_NAMES}
        else:  # {"data": [...]} and the like
            parts = {"train": next(iter(lists.values()), None)}
    if not isinstance(parts["train"], list):
        raise DataError(f"{path} must hold a list of objects, got {type(value).__name__}")
    return {s: [_row(row, f"{path}, item {i}") for i, row in enumerate(part)] for s, part in parts.items()}


def _csv(text: str, path: Path) -> Rows:
    """Comma, semicolon or tab: whichever the header has most of; in a .tsv tabs."""
    header = text.split("\n", 1)[0]
    marks = "\t" if path.suffix.lower() == ".tsv" else ",;\t"
    csv.field_size_limit(10**9)  # one long answer is no error
    reader = csv.DictReader(io.StringIO(text), delimiter=max(marks, key=header.count))
    rows = []
    for row in reader:
        if None in row:
            raise DataError(
                f"{path}, line {reader.line_num} has more fields than the header; put quotes around text with commas"
            )
        rows.append(dict(row))
    return rows


def _parquet(path: Path) -> Rows:
    import pyarrow.parquet as parquet

    try:
        return parquet.read_table(path).to_pylist()
    except Exception as error:
        raise DataError(f"{path} cannot be read as parquet: {str(error).splitlines()[0]}") from None


def loaded(name: str) -> Any:
    """A data set of the hub, or of its local cache, by split; DataError where neither has it."""
    import huggingface_hub.constants

    import datasets

    reachable = hub.reachable()
    if not reachable:  # then only the local cache is asked
        datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True
    try:
        return datasets.load_dataset(name)
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        reason = reason if reachable else "it cannot be reached, and its local cache does not hold this"
        raise DataError(
            f'"{name}" is no local file or folder, and the hub did not give it ({reason}); '
            "check the name and the network, or give a local file"
        ) from None


def _hub(name: str) -> RawData:
    rows = {SPLIT_NAMES.get(s, s): [dict(r) for r in part] for s, part in loaded(name).items()}
    if "train" not in rows:
        raise DataError(f"hub data set {name} has the splits {', '.join(rows)} but no train split")
    return RawData(name, {k: v for k, v in rows.items() if k in ("train", "validation", "test")})


def _row(value: Any, where: str) -> dict[str, Any]:
    texts = value.values() if isinstance(value, dict) else ()
    if any(
        _HALF.search(t if isinstance(t, str) else json.dumps(t, ensure_ascii=False, default=str)) for t in texts if t
    ):
        raise DataError(
            f"{where} holds half of a surrogate pair (such as \\ud83d alone), which is no text; mend or drop that"
            " example"
        )
    if not isinstance(value, dict):
        raise DataError(f"{where} is {type(value).__name__}; each example must be an object with named fields")
    return value
