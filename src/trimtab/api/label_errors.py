"""The verb that looks for wrong labels: label_errors. Plain values in, plain data out."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trimtab.datasets.formats import Example
from trimtab.errors import SpecError
from trimtab.forecasting.source import task_by_model
from trimtab.spec.files import write_whole
from trimtab.spec.progress import Say, silent
from trimtab.spec.recipe import Recipe
from trimtab.spec.words import CLASSIFIERS

COLUMNS = ("trimtab_row", "trimtab_given", "trimtab_likely", "trimtab_probability_given", "trimtab_probability_likely")


def label_errors(model: str, data: str, *, write: str | Path | None = None, say: Say = silent) -> dict[str, Any]:
    """Examples whose label is likely wrong, by a probe on the model's frozen states that never saw them.

    Gives {"examples", "suspects": [{"row", "example", "given", "likely", "of_given", "of_likely"}], "file"}: `row` is
    the number in the file that was given, from 1 on (of pictures the file's name); `write` names a CSV with the rows of
    the original file, five columns added. SpecError for a model that is no classifier's.
    """
    task_name = task_by_model(model, say)
    if task_name not in CLASSIFIERS:
        raise SpecError(
            f"{model}", [f"is a model for {task_name or 'another task'}; name one that classifies, as bundled:minilm"]
        )
    from trimtab.analysis.label_errors import suspects
    from trimtab.behaviour.frozen_probe import out_of_sample, read
    from trimtab.datasets.label_items import labels_in
    from trimtab.run import machine
    from trimtab.tasks.task import find_task

    task: Any = find_task(task_name)
    dataset, processor, here = task.read(data, say), task.processor(model, say), machine.look()
    base = task.load_base(model, dataset, processor, False, here.bf16, here.device, say)
    facts = task.facts(model, data, dataset, processor, here, "-", say)
    how = {"model": model, "data": data, "task": task_name, "max_length": max(8, facts.length_99)}
    recipe = Recipe.model_validate(how)
    examples = [e for some in dataset.examples.values() for e in some]
    labels = labels_in(dataset)
    say(f"Reading {len(examples):,} examples")
    items = task.measured(examples, processor, labels, recipe)
    truth = [i.label for i in items]
    found = suspects(truth, out_of_sample(read(base, None, items).states, truth))
    places = _places(data, examples, say)
    rows = [
        {
            "row": places[s.place], "example": task.shown(examples[s.place]), "given": labels[s.given],
            "likely": labels[s.likely], "of_given": s.of_given, "of_likely": s.of_likely,
        }
        for s in found
    ]  # fmt: skip
    if write is not None:
        _write(Path(write), data, rows, say)
    return {"examples": len(examples), "suspects": rows, "file": str(write) if write is not None else None}


def _places(data: str, examples: Sequence[Any], say: Say) -> list[int | str]:
    """Where each example stands in what a person gave: a row from 1 on, or the file of a picture."""
    if not isinstance(examples[0], Example):
        return [e.name for e in examples]
    from trimtab.datasets.formats import to_examples
    from trimtab.datasets.read import read

    where: dict[Any, list[int]] = {}
    number = 0
    for split, rows in read(data, say).rows.items():
        for row in rows:
            number += 1
            try:
                _, made, _ = to_examples([row], split)
            except Exception:  # a row that was left out when all of them were read
                continue
            where.setdefault(made[0].messages[-2]["content"] + "\0" + made[0].answer, []).append(number)
    return [where[e.messages[-2]["content"] + "\0" + e.answer].pop(0) for e in examples]


def _write(path: Path, data: str, rows: Sequence[Mapping[str, Any]], say: Say) -> None:
    out = io.StringIO()
    original = _original(data, say) if rows and isinstance(rows[0]["row"], int) else {}
    names = [*COLUMNS, *(next(iter(original.values()), {"example": ""}))]
    writer = csv.DictWriter(out, names, extrasaction="ignore")
    writer.writeheader()
    for r in rows:
        added = (r["row"], r["given"], r["likely"], f"{r['of_given']:.3f}", f"{r['of_likely']:.3f}")
        writer.writerow({**dict(zip(COLUMNS, added, strict=True)), **original.get(r["row"], {"example": r["example"]})})
    write_whole(path, out.getvalue())


def _original(data: str, say: Say) -> dict[int, dict[str, Any]]:
    from trimtab.datasets.columns import split_name
    from trimtab.datasets.read import read

    every = [row for rows in read(split_name(data)[0], say).rows.values() for row in rows]
    return dict(enumerate(every, 1))
