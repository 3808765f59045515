"""Pictures with labels, from folders, tables, parquet or bundled names. Takes a DATA argument, gives labelled pictures
by split, each looked at once: broken files are named before anything is trained.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from trimtab.datasets.assets import cache_folder
from trimtab.datasets.picture_sources import SKIP, SUFFIXES, TABLES, Picture, files_in, find, in_table, place_of
from trimtab.datasets.split import divide
from trimtab.errors import DataError
from trimtab.spec.files import write_whole

Say = Callable[[str], None]
LEAST = 24


@dataclass(frozen=True)
class Pictures:
    """A data set: `examples` by split; `dropped`: left out because they could not be read."""

    name: str
    form: str
    examples: dict[str, list[Picture]]
    dropped: int
    how_split: str


def load(data: str, say: Say = print, seed: int = 0) -> Pictures:
    """Every picture opened once; DataError with the names of those that cannot be, unless `DATA#skip-unreadable`
    leaves them out."""
    form, found = find(data, say)
    parts, problems = {}, list[str]()
    for split, pictures in found.items():
        looked = _looked_at(pictures, data, say)
        parts[split] = [p for p, why in looked if why is None]
        problems += [f"{p.name} ({why})" for p, why in looked if why is not None]
    if problems and SKIP not in data.partition("#")[2]:
        named = "; ".join(problems[:5]) + (" …" if len(problems) > 5 else "")
        raise DataError(
            f"{data}: {len(problems)} picture{'s' if len(problems) > 1 else ''} cannot be read: {named}; mend or take"
            f" them out, or write {data.partition('#')[0]}#{SKIP}"
        )
    if len(parts["train"]) < LEAST and "test" not in parts:
        raise DataError(
            f"{data} has {len(parts['train'])} pictures; at least {LEAST} are needed to train, validate and test on"
        )
    how = "as the source splits it"
    for missing in ("validation", "test"):
        if missing not in parts:
            parts, how = _split_off(parts, missing, seed), f"seed {seed}, near-copies kept on one side"
    if any(not parts[s] for s in ("train", "validation", "test")):
        raise DataError(f"{data} leaves no pictures for one of train, validation and test; give more that differ")
    return Pictures(data, form, parts, len(problems), how)


ALIKE, MEAN = 6, 1.5  # of 255: how far each of 64 fields of a near copy may differ, and the mean of all of them


def near_copies(pictures: Sequence[Picture]) -> list[int]:
    """The group of each: equal content, or nearly equal colours in each of 8 × 8 fields."""
    import numpy as np

    if not pictures:
        return []
    fields = np.frombuffer(bytes.fromhex("".join(p.look for p in pictures)), np.uint8).reshape(len(pictures), -1)
    fields, means = fields.astype(np.int16), fields.mean(axis=1)
    order, group = np.argsort(means, kind="stable"), list(range(len(pictures)))
    ends = np.searchsorted(means[order], means[order] + MEAN, side="right")
    for place, i in enumerate(order):
        others = order[place + 1 : ends[place]]
        for j in others[(np.abs(fields[others] - fields[i]) <= ALIKE).all(axis=1)]:
            a, b = _root(group, int(i)), _root(group, int(j))
            group[max(a, b)] = min(a, b)
    return [_root(group, i) for i in range(len(pictures))]


def _root(group: list[int], i: int) -> int:
    while group[i] != i:
        i = group[i]
    return i


def _split_off(parts: dict[str, list[Picture]], missing: str, seed: int) -> dict[str, list[Picture]]:
    train = parts["train"]
    groups: dict[int, list[int]] = {}
    for i, group in enumerate(near_copies(train)):
        groups.setdefault(group, []).append(i)
    cut = divide(list(groups.values()), len(train), seed)
    if missing == "validation" and "test" not in parts:
        return {s: [train[i] for i in getattr(cut, s)] for s in ("train", "validation", "test")}
    rest = cut.train + (cut.test if missing == "validation" else cut.validation)
    return {**parts, "train": [train[i] for i in sorted(rest)], missing: [train[i] for i in getattr(cut, missing)]}


def unlabelled(given: Sequence[str], say: Say = print) -> list[Picture]:
    """Files, all pictures in a folder, or those that a table names (table.csv#IMAGE), to be told what they are.
    DataError with those that cannot be read."""
    found: list[Picture] = []
    for name in given:
        path, column = place_of(name)
        if not path.exists():
            raise DataError(
                f"{path} does not exist; give a picture ({', '.join(SUFFIXES)}), several, a folder of them, or a table"
                f" of paths ({', '.join(TABLES)})"
            )
        if path.suffix.lower() in TABLES and path.is_file():
            found += in_table(path, column)
        else:
            found += [Picture(str(f), "", str(f)) for f in (files_in(path) if path.is_dir() else [path])]
    if not found:
        raise DataError(f"{', '.join(given)} holds no picture ({', '.join(SUFFIXES)})")
    looked = _looked_at(found, "unlabelled", say)
    if broken := [f"{p.name} ({why})" for p, why in looked if why]:
        raise DataError(
            f"{len(broken)} of {len(found)} pictures cannot be read: {'; '.join(broken[:5])}; take them out"
        )
    return [p for p, _ in looked]


def _looked_at(pictures: Sequence[Picture], data: str, say: Say) -> list[tuple[Picture, str | None]]:
    """Each with what is known of it, or why it cannot be read; files that were looked at before are not opened."""
    from trimtab.datasets.picture_look import look

    keep = cache_folder() / "pictures" / f"{hashlib.sha256(data.partition('#')[0].encode()).hexdigest()[:16]}.json"
    known: dict[str, Any] = json.loads(keep.read_text("utf-8")) if keep.exists() else {}
    marks = [_mark(p) for p in pictures]
    new = [i for i, mark in enumerate(marks) if mark is None or mark not in known]
    if len(new) > 2000:
        say(f"Looking at {len(new):,} pictures (once)")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        seen = dict(zip(new, pool.map(look, (pictures[i] for i in new)), strict=True))
    known |= {mark: asdict(s) for i, s in seen.items() if (mark := marks[i]) is not None and not s.problem}
    if new and any(marks):
        write_whole(keep, json.dumps(known))
    made = []
    for i, (picture, mark) in enumerate(zip(pictures, marks, strict=True)):
        told = asdict(seen[i]) if i in seen else known[mark or ""]
        problem = told.get("problem")
        made.append((replace(picture, **{k: told[k] for k in ("digest", "look", "width", "height")}), problem))
    return made


def _mark(picture: Picture) -> str | None:
    """Tells a file from what stood under its name before; None for what lies in memory."""
    if isinstance(picture.source, bytes):
        return None
    try:
        found = os.stat(picture.source)
    except OSError:  # it is looked at, and why it cannot be read is said
        return None
    return f"{picture.source}:{found.st_size}:{found.st_mtime_ns}"


def sizes(pictures: Sequence[Picture]) -> str:
    """The commonest sizes, in words."""
    counts = Counter((p.width, p.height) for p in pictures)
    some = [f"{w} × {h}" + (f" ({n:,})" if len(counts) > 1 else "") for (w, h), n in counts.most_common(3)]
    return ", ".join(some) + (f" and {len(counts) - 3:,} others" if len(counts) > 3 else "")
