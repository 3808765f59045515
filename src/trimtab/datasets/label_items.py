"""Labelled texts -> token ids and the place of the label. Takes examples and any tokenizer, gives items; no torch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from trimtab.datasets.columns import apart
from trimtab.datasets.formats import Example
from trimtab.datasets.prepare import SPLITS, Dataset, percentile
from trimtab.errors import DataError


class Answered(Protocol):
    """A data set whose examples have answers that are labels: texts, pictures."""

    @property
    def name(self) -> str: ...
    @property
    def how_split(self) -> str: ...
    @property
    def examples(self) -> Mapping[str, Sequence[Any]]: ...


@dataclass(frozen=True)
class Labelled:
    """Token ids and the place of the label; `cut` tokens were lost to max_length. `smoothing`: share of the truth that
    is given to all labels alike; `scale`: how often its loss counts; `balance`: what that is where labels are to count
    alike."""

    ids: tuple[int, ...]
    label: int
    cut: int = 0
    weight: int = 1
    smoothing: float = 0.0
    balance: float = 1.0
    scale: float = 1.0

    @property
    def size(self) -> int:
        return len(self.ids)

    @property
    def key(self) -> tuple[int, ...]:
        return self.ids


def labels_in(dataset: Answered) -> tuple[str, ...]:
    """In alphabetical order. DataError where a classifier cannot learn from them."""
    counts = Counter(e.answer.strip() for e in dataset.examples["train"])
    if len(counts) == 1:
        raise DataError(
            f"{dataset.name} has one label only, {next(iter(counts))}: a classifier would learn to say it always; add"
            " examples of another"
        )
    _check_spelling(dataset.name, list(counts))
    for split in SPLITS:
        unknown = sorted({e.answer.strip() for e in dataset.examples[split]} - counts.keys())
        if unknown and dataset.how_split.startswith("seed"):
            every = Counter(e.answer.strip() for part in dataset.examples.values() for e in part)
            few = ", ".join(f"{label} ({every[label]})" for label in unknown[:5])
            raise DataError(
                f"{dataset.name} has too few examples of {few}: all of them were set aside to validate and test on; add"
                " some (five of each at least), or take them out"
            )
        if unknown:
            raise DataError(
                f"{dataset.name} ({split}) has the label{'s' if len(unknown) > 1 else ''} {', '.join(unknown[:5])},"
                " which no training example has; mend the spelling, add examples, or take those rows out"
            )
    return tuple(sorted(counts))


def _check_spelling(name: str, labels: Sequence[str]) -> None:
    """Two spellings of one label, and numbers that are measured rather than counted."""
    spelled: dict[str, str] = {}
    for label in labels:
        other = spelled.setdefault(" ".join(label.casefold().split()), label)
        if other != label:
            raise DataError(
                f'{name} has the labels "{other}" and "{label}", which differ in capitals or spaces alone;'
                " make them one"
            )
    fractions = [label for label in labels if _FRACTION.fullmatch(label) and float(label) % 1]
    if len(fractions) > len(labels) / 2:
        raise DataError(
            f"{name} has labels with decimals ({', '.join(fractions[:4])}): these are measured values, and a classifier"
            " needs classes; cut them into a few, as in low, middle, high"
        )


_FRACTION = re.compile(r"[-+]?\d*\.\d+(?:[eE][-+]?\d+)?")


def encoded(
    examples: Sequence[Example], tokenizer: Any, max_length: int | None, labels: Sequence[str]
) -> list[Labelled]:
    """Texts cut at `max_length` tokens, special ones included; None: whole."""
    if not examples:
        return []
    place = {label: i for i, label in enumerate(labels)}
    texts = [e.prompt[-1]["content"] for e in examples]
    whole = ids_of(texts, tokenizer)
    cut = max_length is not None and max(map(len, whole)) > max_length
    kept = ids_of(texts, tokenizer, max_length) if cut else whole
    return [
        Labelled(tuple(ids), place[e.answer.strip()], len(every) - len(ids))
        for e, ids, every in zip(examples, kept, whole, strict=True)
    ]


def ids_of(texts: Sequence[str], tokenizer: Any, max_length: int | None = None) -> list[list[int]]:
    """Each text's, special ones included; of two texts in one (columns.MARK) as the tokenizer joins pairs, the longer
    one cut first."""
    made: list[list[int]] = [[] for _ in texts]
    parts = [apart(t) for t in texts]
    for count in (1, 2):
        some = [i for i, p in enumerate(parts) if len(p) == count]
        if some:
            sides = [[parts[i][side] for i in some] for side in range(count)]
            how = {"truncation": True, "max_length": max_length} if max_length else {"truncation": False}
            for i, ids in zip(some, tokenizer(*sides, verbose=False, **how)["input_ids"], strict=True):
                made[i] = ids
    return made


def balanced(items: Sequence[Any]) -> list[Any]:
    """With `balance` as scikit-learn's class_weight="balanced" has it: n / (labels × examples of this one)."""
    counts = Counter(i.label for i in items)
    return [replace(i, balance=len(items) / (len(counts) * counts[i.label])) for i in items]


def table_of(
    dataset: Dataset, labels: Sequence[str], splits: Mapping[str, Sequence[Labelled]], max_length: int
) -> dict[str, Any]:
    """What was read, as data: the report and the terminal draw it."""
    train = splits["train"]
    lengths, counts = sorted(i.size + i.cut for i in train), Counter(labels[i.label] for i in train)
    cut = sum(i.cut > 0 for i in train)
    sizes = {s: len(items) for s, items in splits.items()}
    return {
        "name": dataset.name,
        "form": dataset.form,
        "examples": sizes,
        "dropped_empty": dataset.dropped,
        "split": dataset.how_split,
        "labels": dict(counts.most_common()),
        "tokens": sum(i.size for i in train),
        "lengths": {str(p): percentile(lengths, p) for p in (50, 95, 99, 100)},
        "max_length": max_length,
        "cut_examples": cut,
        "rows": [
            ["form", f"{dataset.form}; split {dataset.how_split}"],
            ["examples", ", ".join(f"{n:,} {s}" for s, n in sizes.items())],
            ["labels", ", ".join(f"{label} {n:,}" for label, n in counts.most_common(20))],
            ["cutoff", f"{max_length} tokens: cuts {cut:,} examples; the longest has {lengths[-1]:,}"],
        ],
    }


def labels_line(labels: Mapping[str, int]) -> str:
    """For a terminal, the commonest first."""
    some = ", ".join(f"{label} {n:,}" for label, n in list(labels.items())[:12])
    return f"  Labels: {some}" + (f", … ({len(labels)} in all)" if len(labels) > 12 else "")


def table_lines(table: Mapping[str, Any]) -> list[str]:
    """The table for a terminal, a line each."""
    sizes = ", ".join(f"{n:,} {split}" for split, n in table["examples"].items())
    lost = f"; dropped {table['dropped_empty']:,} with an empty side" if table["dropped_empty"] else ""
    return [
        f"Read {table['name']}: {table['form']} form; {sizes} examples ({table['split']}){lost}",
        labels_line(table["labels"]),
        f"  {table['tokens']:,} tokens to train on; max_length {table['max_length']:,} cuts"
        f" {table['cut_examples']:,} examples",
    ]
