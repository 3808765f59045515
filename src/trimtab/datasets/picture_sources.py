"""Where pictures are: folders for labels, tables of paths, parquet, CIFAR batches, bundled names. Takes a DATA
argument, gives pictures with labels by split, none of them opened yet.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from trimtab.datasets import bundled_pictures
from trimtab.datasets.plain_pickle import load as plain_pickle
from trimtab.datasets.read import SPLIT_NAMES, loaded
from trimtab.errors import DataError, did_you_mean

Say = Callable[[str], None]
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
IMAGE_COLUMNS = ("image", "img", "picture", "file_name", "filename", "file", "path", "image_path", "pixel_values")
LABEL_COLUMNS = ("label", "labels", "class", "category", "target", "fine_label")
SKIP = "skip-unreadable"  # behind the #: leave out what cannot be read, instead of stopping
CHANGES = ("shifted", "brighter", "darker", "blurred", "compressed")


@dataclass(frozen=True)
class Picture:
    """`source`: a file, or the encoded bytes; `digest` of its content; `look` a hash that near copies share; `answer`
    its label; `change`: seen through one of CHANGES, which keep what is in it."""

    source: str | bytes
    answer: str
    name: str
    change: str = ""
    digest: str = ""
    look: str = ""
    width: int = 0
    height: int = 0

    def read(self) -> bytes:
        """Encoded, as it came."""
        return self.source if isinstance(self.source, bytes) else Path(self.source).read_bytes()


def find(data: str, say: Say = print) -> tuple[str, dict[str, list[Picture]]]:
    """(the form in words, labelled pictures by split), none of them opened yet."""
    place, _, named = data.partition("#")
    if place.startswith("bundled:"):
        return "bundled", _bundled(place, say)
    path = Path(place).expanduser()
    if path.is_dir():
        if batches := _cifar(path):
            return "CIFAR batches", batches
        return "a folder for each label", _folders(path)
    if not path.exists() and (path.suffix.lower() in (*TABLES, *SUFFIXES) or place.startswith((".", "/", "~"))):
        raise DataError(f"{place} does not exist; give a folder with a subfolder for each label, or a table of paths")
    if not path.exists():
        return "a data set of the hub", of_datasets(loaded(place), place)
    columns = [c.strip() for c in named.split(",") if c.strip() and c.strip() != SKIP]
    return f"a table of pictures ({path.suffix[1:]})", {"train": list(_table(path, columns))}


def are_pictures(data: str) -> bool:
    """Whether DATA names pictures: told without opening any."""
    place, _, named = data.partition("#")
    if place.startswith("bundled:"):
        return place.removeprefix("bundled:") in bundled_pictures.PICTURES
    path = Path(place).expanduser()
    try:
        if path.is_dir():
            return bool(_cifar_files(path)) or any(_has_pictures(p) for p in islice(_subfolders(path), 20))
        if path.suffix.lower() not in TABLES or not path.is_file():
            return False
        row = next(iter(_rows(path, 1)), {})
        first = named.split(",")[0].strip()
        column = first if first in row else _column(row, IMAGE_COLUMNS)
        value = row[column] if column is not None else None
        is_file = isinstance(value, str) and value.lower().endswith(SUFFIXES)  # it may be gone: then that is said
        return is_file or (column is not None and _source(value, path.parent) is not None)
    except (DataError, OSError, UnicodeDecodeError):
        return False


def _bundled(place: str, say: Say) -> dict[str, list[Picture]]:
    name = place.removeprefix("bundled:")
    if name not in bundled_pictures.PICTURES:
        known = bundled_pictures.PICTURES
        raise DataError(
            f'there are no bundled pictures "{name}"{did_you_mean(name, [*known])} (there are: '
            + ", ".join(f"bundled:{b}" for b in known)
            + ")"
        )
    parts = bundled_pictures.pictures_by_split(name, say)
    return {s: [Picture(c, label, f"{name} {s} {i}") for i, (c, label) in enumerate(p)] for s, p in parts.items()}


def _subfolders(path: Path) -> Iterator[Path]:
    return (p for p in sorted(path.iterdir()) if p.is_dir() and not _litter(p.name))


def _litter(name: str) -> bool:
    """What systems leave behind: hidden files and folders, a Mac's shadow copies."""
    return name.startswith(".") or name == "__MACOSX"


def files_in(path: Path) -> list[Path]:
    """Pictures in a folder and below it, by name."""
    found = (p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
    return sorted(p for p in found if not any(map(_litter, p.relative_to(path).parts)))


def _has_pictures(path: Path) -> bool:
    return any(p.suffix.lower() in SUFFIXES for p in islice(path.rglob("*"), 200))


def _folders(path: Path) -> dict[str, list[Picture]]:
    named = {p: SPLIT_NAMES.get(p.name.lower()) for p in _subfolders(path)}
    if "train" in named.values():
        return {split: _by_label(p) for p, split in named.items() if split}
    return {"train": _by_label(path)}


def _by_label(path: Path) -> list[Picture]:
    made, empty = [], []
    for folder in _subfolders(path):
        files = files_in(folder)
        made += [Picture(str(p), folder.name, str(p)) for p in files]
        empty += [] if files else [folder.name]
    if empty:
        raise DataError(
            f"{path}: no picture ({', '.join(SUFFIXES)}) lies in {', '.join(empty[:5])}; each folder is a label, so"
            " fill or delete those"
        )
    if not made:
        raise DataError(f"{path} holds no subfolders with pictures; each label needs a folder of its name")
    return made


def _table(path: Path, columns: Sequence[str]) -> Iterator[Picture]:
    if path.suffix.lower() not in TABLES:
        raise DataError(f"{path} ends in {path.suffix or 'nothing'}; allowed are {', '.join(TABLES)}, or a folder")
    names: dict[int, str] = {}
    if path.suffix.lower() == ".parquet":
        names = _class_names(path)
    image = label = None
    for i, row in enumerate(_rows(path), 1):
        if image is None or label is None:
            image, label = _two_columns(path, row, columns)
        source, answer = _source(row.get(image), path.parent), row.get(label)
        if source is None and isinstance(row.get(image), str) and row[image].strip():
            source = str(path.parent / row[image])  # gone: named with all others that cannot be read
        if source is None or answer is None or not str(answer).strip():
            what = (
                f"no label in {label}" if source is not None else f"no picture in {image} ({str(row.get(image))[:60]})"
            )
            raise DataError(f"{path}, row {i} has {what}; paths are read from {path.parent}")
        answer = names.get(answer, str(answer)) if isinstance(answer, int) else str(answer)
        yield Picture(source, answer.strip(), source if isinstance(source, str) else f"{path.name} row {i}")


def place_of(name: str) -> tuple[Path, str]:
    """(the picture, folder or table, the column that is named behind it or ""); a mark may be in a file's own name."""
    place, _, column = (name, "", "") if Path(name).expanduser().exists() else name.partition("#")
    return Path(place).expanduser(), column.partition(",")[0].strip()


def in_table(path: Path, column: str) -> Iterator[Picture]:
    """Pictures that a table names, whatever else is in it; `column`: theirs, "" for a usual name."""
    for i, row in enumerate(_rows(path), 1):
        image = column if column in row else None if column else _column(row, IMAGE_COLUMNS)
        if image is None:
            raise DataError(
                f"{path} has the columns {', '.join(row)}; say which holds pictures: {path}#IMAGE"
                + did_you_mean(column, [*row])
            )
        value = row.get(image)
        source = _source(value, path.parent)
        if source is None:
            raise DataError(
                f"{path}, row {i} has no picture in {image} ({str(value)[:60]}); paths are read from {path.parent}"
            )
        yield Picture(source, "", source if isinstance(source, str) else f"{path.name} row {i}")


def _two_columns(path: Path, row: dict[str, Any], columns: Sequence[str]) -> tuple[str, str]:
    if columns and (len(columns) != 2 or any(c not in row for c in columns)):
        raise DataError(
            f"{path}: got {', '.join(columns)} behind the #; name the pictures' column and the labels', two of"
            f" {', '.join(row)}"
        )
    image, label = columns or (_column(row, IMAGE_COLUMNS), _column(row, LABEL_COLUMNS))
    if image is None or label is None:
        raise DataError(
            f"{path} has the columns {', '.join(row)}; say which holds pictures and which labels: {path}#IMAGE,LABEL"
        )
    return image, label


def _column(row: dict[str, Any], names: Sequence[str]) -> str | None:
    spelled = {str(k).lower(): k for k in row}
    return next((spelled[n] for n in names if n in spelled), None)


def _source(value: Any, folder: Path) -> str | bytes | None:
    """A file that is there, or encoded bytes as the datasets library keeps them."""
    if isinstance(value, dict):
        return value.get("bytes") or _source(value.get("path"), folder)
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not value.strip():
        return None
    path = folder / Path(value).expanduser()
    return str(path) if path.is_file() else None


def _rows(path: Path, most: int | None = None) -> Iterator[dict[str, Any]]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        import pyarrow.parquet as parquet

        file = parquet.ParquetFile(path)
        batches = file.iter_batches(batch_size=most or 512)
        yield from (row for batch in batches for row in batch.to_pylist())
        return
    with path.open(encoding="utf-8-sig", newline="") as handle:
        if suffix == ".jsonl":
            yield from (json.loads(line) for line in islice((s for s in handle if s.strip()), most))
        else:
            yield from islice(csv.DictReader(handle, delimiter="\t" if suffix == ".tsv" else ","), most)


def _class_names(path: Path) -> dict[int, str]:
    """What the datasets library calls numbered labels, from the file's own notes."""
    import pyarrow.parquet as parquet

    notes = (parquet.read_schema(path).metadata or {}).get(b"huggingface")
    features = json.loads(notes)["info"]["features"] if notes else {}
    named = [f["names"] for f in features.values() if isinstance(f, dict) and f.get("_type") == "ClassLabel"]
    return dict(enumerate(named[0])) if len(named) == 1 else {}


def of_datasets(parts: Mapping[str, Any], name: str) -> dict[str, list[Picture]]:
    """Of the datasets library's splits: the one column of pictures, the one of named labels. Not decoded here."""
    import datasets

    made: dict[str, list[Picture]] = {}
    for split, part in parts.items():
        images = [c for c, f in part.features.items() if isinstance(f, datasets.Image)]
        labels = [c for c, f in part.features.items() if isinstance(f, datasets.ClassLabel)]
        if len(images) != 1 or len(labels) != 1:
            raise DataError(
                f"{name} has {len(images)} columns of pictures and {len(labels)} of named labels"
                f" ({', '.join(part.features)}); one of each is needed: write them out as a folder for each label"
            )
        names, known = part.features[labels[0]].names, SPLIT_NAMES.get(split.lower())
        raw = part.cast_column(images[0], datasets.Image(decode=False))
        if known:
            made[known] = [
                Picture(row[images[0]]["bytes"] or row[images[0]]["path"], names[row[labels[0]]], f"{name} {split} {i}")
                for i, row in enumerate(raw)
            ]
    if "train" not in made:
        raise DataError(f"{name} has the splits {', '.join(parts)} but none to train on")
    return made


def _cifar_files(path: Path) -> dict[str, list[Path]]:
    train, test = sorted(path.glob("data_batch_*")), sorted(path.glob("test_batch"))
    return {"train": train, "test": test} if train and test and (path / "batches.meta").exists() else {}


def _cifar(path: Path) -> dict[str, list[Picture]]:
    """CIFAR-10 as its authors publish it for Python: pickles of rows, red, green and blue planes one after another."""
    made: dict[str, list[Picture]] = {}
    for split, files in _cifar_files(path).items():
        names = [_text(n) for n in _named(path / "batches.meta")["label_names"]]
        for file in files:
            batch = _named(file)
            for i, (row, label) in enumerate(zip(batch["data"], batch["labels"], strict=True)):
                made.setdefault(split, []).append(Picture(_png(row), names[label], f"{file.name} row {i}"))
    return made


def _named(path: Path) -> dict[str, Any]:
    """By text: what Python 2 wrote, and what was written again since."""
    return {_text(k): v for k, v in plain_pickle(path).items()}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _png(row: Any) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(row.reshape(3, 32, 32).transpose(1, 2, 0)).save(out, "png", compress_level=1)
    return out.getvalue()
