"""Bundled texts with labels: TREC questions, SMS spam, film reviews. Takes a name, gives rows of text and label by
split, the same on every machine.

Copies are taken out first (by lower-cased text: two thirds of the raw TREC lines are), then a sample is drawn: small
enough that a whole study of a small encoder takes minutes.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path

SIZES = {"train": 1000, "validation": 300, "test": 500}
QUESTIONS = {
    "ABBR": "abbreviation", "DESC": "description", "ENTY": "entity", "HUM": "person", "LOC": "place", "NUM": "number",
}  # fmt: skip
NAMES = ("questions", "sms-spam", "film-reviews")
UNSURE = 0.5  # of a rating from −4 to 4: film reviews nearer to zero are left out, where people did not agree
Row = dict[str, str]


def rows_by_split(name: str, folder: Path) -> dict[str, list[Row]]:
    """`folder`: where the package's files lie."""
    read = {"questions": _questions, "sms-spam": _spam, "film-reviews": _reviews}[name]
    seen: dict[str, tuple[str, str]] = {}
    for text, label in read(folder):
        seen.setdefault(text.lower(), (text, label))
    rows = [{"text": text, "label": label} for text, label in seen.values()]
    random.Random(0).shuffle(rows)
    made, start = {}, 0
    for split, size in SIZES.items():
        made[split] = rows[start : start + size]
        start += size
    return made


def _questions(folder: Path) -> Iterator[tuple[str, str]]:
    for line in (folder / "question_labels.txt").read_text("latin-1").splitlines():
        label, _, text = line.partition(" ")
        if (kind := QUESTIONS.get(label.partition(":")[0])) and text.strip():
            yield text.strip(), kind


def _spam(folder: Path) -> Iterator[tuple[str, str]]:
    with (folder / "sms-spam.csv").open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            if text := " ".join(row["text"].split()):
                yield text, "spam" if row["spam"] == "1" else "ham"


def _reviews(folder: Path) -> Iterator[tuple[str, str]]:
    for line in (folder / "movieReviewSnippets_GroundTruth.txt").read_text("utf-8").splitlines()[1:]:
        _, rating, text = line.split("\t", 2)
        if abs(float(rating)) >= UNSURE and text.strip():
            yield text.strip(), "positive" if float(rating) > 0 else "negative"
