"""How many wrong labels are found, and how many of the suspects are wrong: a tenth of the labels of bundled sets is
made wrong, drawn anew each time.

    python bench/label_errors.py [--draws 5]

Writes results/label-errors.md. What was suspected before anything was made wrong is counted apart: some of it is wrong
in the published sets, too.
"""

from __future__ import annotations

import argparse
import random
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any

from trimtab.analysis.label_errors import suspects
from trimtab.behaviour.frozen_probe import out_of_sample, read
from trimtab.datasets.label_items import labels_in
from trimtab.run import machine
from trimtab.spec.recipe import Recipe
from trimtab.tasks.task import find_task

HERE = Path(__file__).parent / "results"
SETS = (
    ("text-classification", "bundled:minilm", "bundled:questions"),
    ("text-classification", "bundled:minilm", "bundled:film-reviews"),
    ("text-classification", "bundled:minilm", "bundled:sms-spam"),
    ("image-classification", "bundled:efficientnet-lite0", "bundled:emoji"),
    ("image-classification", "bundled:efficientnet-lite0", "bundled:fashion-mnist"),
)
WRONG = 0.1


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--draws", type=int, default=5)
    draws = given.parse_args().draws
    lines = [
        "# Wrong labels that are found", "",
        f"`bench/label_errors.py`, {date.today()}: a tenth of the labels made wrong, means of {draws} draws. Suspected"
        " before: share of the labels as published. Suspects that were wrong before count as false ones here.", "",
        "| set | examples | suspected before | wrong ones found | suspects that are wrong | of their likelier half |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for task_name, model, data in SETS:
        lines.append(row(data, *measured(find_task(task_name), model, data, draws)))
        print(lines[-1], flush=True)
    (HERE / "label-errors.md").write_text("\n".join(lines) + "\n")


def measured(task: Any, model: str, data: str, draws: int) -> tuple[int, float, list[tuple[float, float, float]]]:
    """(examples, share suspected before, (recall, precision, precision of the first half) of each draw)."""
    quiet, here = lambda _text: None, machine.look()
    dataset, processor = task.read(data, quiet), task.processor(model, quiet)
    base = task.load_base(model, dataset, processor, False, False, here.device, quiet)
    recipe = Recipe(model=model, data=data, task=find_name(task), max_length=96)
    examples = [e for some in dataset.examples.values() for e in some]
    items = task.measured(examples, processor, labels_in(dataset), recipe)
    states, truth = read(base, None, items).states, [i.label for i in items]
    labels, found = sorted(set(truth)), []
    before = len(suspects(truth, out_of_sample(states, truth))) / len(truth)
    for draw in range(draws):
        rng = random.Random(draw)
        wrong = set(rng.sample(range(len(truth)), round(WRONG * len(truth))))
        said = [rng.choice([x for x in labels if x != t]) if i in wrong else t for i, t in enumerate(truth)]
        places = [s.place for s in suspects(said, out_of_sample(states, said))]
        half = places[: len(places) // 2]
        found.append(
            (
                sum(p in wrong for p in places) / len(wrong),
                mean(p in wrong for p in places),
                mean(p in wrong for p in half),
            )
        )
    return len(truth), before, found


def find_name(task: Any) -> str:
    return "image-classification" if task.words.size == "pixel rows" else "text-classification"


def row(data: str, examples: int, before: float, found: list[tuple[float, float, float]]) -> str:
    recall, precision, first = (mean(f[i] for f in found) for i in range(3))
    name = data.removeprefix("bundled:")
    return f"| {name} | {examples:,} | {before:.1%} | {recall:.0%} | {precision:.0%} | {first:.0%} |"


if __name__ == "__main__":
    main()
