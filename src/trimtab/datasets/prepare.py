"""DATA -> everything a run needs of it, and the table that says what was read.

Takes a DATA argument and a tokenizer, gives tokenised splits. Same inputs, same splits, on every machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.datasets.encoded import Encoded
from trimtab.datasets.formats import Example, to_examples
from trimtab.datasets.read import read
from trimtab.datasets.split import split
from trimtab.datasets.tokens import Tokens, refuses_system, tokenise
from trimtab.errors import DataError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Dataset:
    """Examples by split, before tokens."""

    name: str
    form: str
    examples: dict[str, list[Example]]
    dropped: int
    how_split: str

    @property
    def is_json(self) -> bool:
        """Whether the task's answers are JSON objects, so that format validity means something."""
        answers = [e.answer for e in self.examples["train"][:200]]
        return sum(_is_json_object(a) for a in answers) >= 0.95 * len(answers)


def load(data: str, seed: int = 0, say: Callable[[str], None] = print) -> Dataset:
    """Files, folders, hub ids or bundled names, split where they are not. DataError says what is wrong and what
    is allowed."""
    source = read(data, say)
    parts: dict[str, list[Example]] = {}
    form, dropped = "", 0
    for name, rows in source.rows.items():
        if rows:
            form, parts[name], lost = to_examples(
                rows, f"{source.name} ({name})" if len(source.rows) > 1 else source.name
            )
            dropped += lost
    how = "as the source splits it"
    for missing in ("validation", "test"):
        if missing not in parts:
            parts, how = _split_off(parts, missing, seed), f"seed {seed}, near-duplicates kept on one side"
    if len(parts["train"]) < 8:
        raise DataError(
            f"{source.name} leaves {len(parts['train'])} examples to train on after validation and test were set aside;"
            " at least 8 are needed, and advice is only worth something from about 50"
        )
    if not parts["validation"] or not parts["test"]:
        raise DataError(
            f"{source.name} has {len(parts['train'])} examples that are all near-copies of each other, so none can be"
            " set aside to validate and test on; give more varied examples, or validation and test files of your own"
        )
    return Dataset(source.name, form, {s: parts[s] for s in SPLITS}, dropped, how)


def _split_off(parts: dict[str, list[Example]], missing: str, seed: int) -> dict[str, list[Example]]:
    train = parts["train"]
    if len(train) < 24:
        raise DataError(
            f"{len(train)} usable example(s) are too few to train, validate and test on; at least 24 are needed"
        )
    cut = split(train, seed)
    if missing == "validation" and "test" not in parts:
        return {name: [train[i] for i in getattr(cut, name)] for name in SPLITS}
    rest = cut.train + (cut.test if missing == "validation" else cut.validation)
    return {**parts, "train": [train[i] for i in sorted(rest)], missing: [train[i] for i in getattr(cut, missing)]}


def tokenise_dataset(dataset: Dataset, tokenizer: Any, max_length: int) -> Encoded:
    """Tokens by split, each sequence with at least one label. Sequences that lose every label to the cutoff are
    dropped; if that leaves none to learn from, DataError."""
    tokens = {s: tokenise(dataset.examples[s], tokenizer, max_length) for s in SPLITS}
    kept = {s: [t for t in tokens[s] if t.weight] for s in SPLITS}
    if not kept["train"]:
        longest = max(len(t.ids) + t.cut for t in tokens["train"])
        raise DataError(
            f"every label is masked: with max_length {max_length} no answer token of {dataset.name} is left "
            f"(the longest example has {longest} tokens); raise max_length"
        )
    if not kept["validation"]:
        raise DataError(f"every validation answer lies beyond max_length {max_length}; raise max_length")
    return Encoded(kept, describe(dataset, tokens, tokenizer, max_length))


def describe(dataset: Dataset, tokens: dict[str, list[Tokens]], tokenizer: Any, max_length: int) -> dict[str, Any]:
    """What was read, as data: the report and the terminal draw it."""
    train = tokens["train"]
    lengths = sorted(len(t.ids) + t.cut for t in train)
    total = sum(len(t.ids) for t in train)
    labelled = sum(t.weight for t in train)
    first = train[0]
    table = {
        "name": dataset.name,
        "form": dataset.form,
        "examples": {s: len(tokens[s]) for s in SPLITS},
        "dropped_empty": dataset.dropped,
        "dropped_all_masked": sum(t.weight == 0 for part in tokens.values() for t in part),
        "split": dataset.how_split,
        "tokens": total,
        "label_tokens": labelled,
        "masked_share": 1 - labelled / max(1, total),
        "lengths": {str(p): percentile(lengths, p) for p in (50, 95, 99, 100)},
        "max_length": max_length,
        "cut_examples": sum(t.cut > 0 for t in train),
        "cut_tokens": sum(t.cut for t in train),
        "template": _template(dataset, tokenizer),
        "first": [(piece, learned) for piece, learned in seen_pieces(first, tokenizer)],
    }
    return {**table, "rows": table_rows(table)}


def _template(dataset: Dataset, tokenizer: Any) -> str:
    if not tokenizer.chat_template:
        return "none in the model: plain text, one message a line"
    has_system = any(m["role"] == "system" for e in dataset.examples["train"] for m in e.messages)
    joined = has_system and refuses_system(tokenizer)
    return "the model's own" + (", which takes no system turn: joined to the first user turn" if joined else "")


def table_lines(table: Mapping[str, Any]) -> list[str]:
    """The table for a terminal, a line each; the learned part of the first example in ⟦brackets⟧."""
    sizes = ", ".join(f"{n:,} {split}" for split, n in table["examples"].items())
    lost = [
        f"{table[key]:,} {why}"
        for key, why in (
            ("dropped_empty", "with an empty side"),
            ("dropped_all_masked", "without an answer inside the cutoff"),
        )
        if table[key]
    ]
    lengths = ", ".join(f"{p} % ≤ {n:,}" for p, n in table["lengths"].items())
    first = "".join(f"⟦{text}⟧" if learned else text for text, learned in table["first"])
    return [
        f"Read {table['name']}: {table['form']} form; {sizes} examples ({table['split']})"
        + (f"; dropped {', '.join(lost)}" if lost else ""),
        (
            f"  {table['tokens']:,} tokens to train on, {table['masked_share']:.0%} masked; lengths {lengths}; "
            f"max_length {table['max_length']:,} cuts {table['cut_examples']:,} examples"
        ),
        f"  First example as the model sees it ({table['template']} template), learned part marked: {first!r}",
    ]


def table_rows(table: Mapping[str, Any]) -> list[list[str]]:
    """The table for a page: (what, text)."""
    examples = ", ".join(f"{n:,} {split}" for split, n in table["examples"].items())
    empty = f"; {table['dropped_empty']} with an empty side dropped" if table["dropped_empty"] else ""
    masked = table["dropped_all_masked"]
    cut = f"; {masked} dropped because the cutoff left no answer" if masked else ""
    lengths = table["lengths"]
    return [
        ["form", f"{table['form']}; split {table['split']}"],
        ["examples", examples + empty + cut],
        [
            "tokens",
            f"{table['tokens']:,} to train on, {table['masked_share']:.0%} of them masked (prompt and template)",
        ],
        [
            "lengths",
            ", ".join(f"{p} % ≤ {lengths[p]}" for p in ("50", "95", "99")) + f", longest {lengths['100']} tokens",
        ],
        [
            "cutoff",
            f"{table['max_length']} tokens: {table['cut_examples']:,} examples lose {table['cut_tokens']:,} tokens",
        ],
        ["chat template", table["template"]],
    ]


def percentile(ordered: list[int], p: float) -> int:
    """The smallest value that at least p % of the (sorted) values do not exceed."""
    import numpy as np  # a plan by sketch must not wait for it

    return int(np.percentile(ordered, p, method="inverted_cdf"))


def seen_pieces(tokens: Tokens, tokenizer: Any) -> list[tuple[str, bool]]:
    """Runs of masked and learned text of one example, as the model sees it."""
    runs: list[tuple[list[int], bool]] = []
    for token, learned in zip(tokens.ids, tokens.labelled, strict=True):
        if not runs or runs[-1][1] != learned:
            runs.append(([], learned))
        runs[-1][0].append(token)
    return [(tokenizer.decode(ids), learned) for ids, learned in runs]


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
