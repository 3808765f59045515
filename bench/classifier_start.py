"""Which rate, length and method a text classifier should start from: the bundled encoder on the bundled sets, by grid.

    python bench/classifier_start.py [--seeds 3] [--out FOLDER]

Every run begins at the frozen probe's head (behaviour/frozen_probe.py) and is measured on validation examples alone,
so that the test examples stay fresh. Started again it goes on. Writes results/classifier-start.md and .json: the
validation loss of each cell over sets and seeds, beside the best cell of each set.
"""

from __future__ import annotations

import argparse
import json
import platform
from datetime import date
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

from trimtab.run.cohort import Cohort
from trimtab.spec.recipe import Recipe
from trimtab.tasks.text_classification import TextClassification

HERE = Path(__file__).parent / "results"
MODEL = "bundled:minilm"
SETS = ("bundled:questions", "bundled:film-reviews", "bundled:sms-spam")
CELLS = [
    *(("lora", rate, epochs) for rate, epochs in product((3e-4, 1e-3, 3e-3), (2.0, 4.0))),
    *(("full", rate, epochs) for rate, epochs in product((2e-5, 6e-5, 2e-4), (2.0, 4.0))),
]
TASK = TextClassification()


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--seeds", type=int, default=3)
    given.add_argument("--out", type=Path, default=HERE)
    asked = given.parse_args()
    file = asked.out / "classifier-start.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"] if file.exists() else []
    known = {(r["data"], r["method"], r["rate"], r["epochs"], r["seed"]) for r in rows}
    for seed, cell, data in product(range(1, asked.seeds + 1), CELLS, SETS):
        if (data, *cell, seed) not in known:
            rows.append(trained(TASK, recipe_of(data, *cell, seed)))
            print(rows[-1], flush=True)
            kept = {"date": str(date.today()), "machine": platform.processor(), "rows": rows}
            file.write_text(json.dumps(kept, indent=1) + "\n")
    (asked.out / "classifier-start.md").write_text(page(rows))


def recipe_of(data: str, method: str, rate: float, epochs: float, seed: int) -> Recipe:
    return Recipe(
        model=MODEL, data=data, task="text-classification", method=method, learning_rate=rate, seed=seed,
        num_train_epochs=epochs, per_device_train_batch_size=32, max_length=128,
    )  # fmt: skip


def trained(task: Any, recipe: Recipe) -> dict[str, Any]:
    """A run to its end, and what it and its start say to the validation examples."""
    quiet = lambda _text: None  # noqa: E731
    model, data = recipe.model, recipe.data
    dataset, processor = task.read(data, quiet), task.processor(model, quiet)
    base = task.load_base(model, dataset, processor, recipe.method == "full", False, "cpu", quiet)
    encoded = task.encode(dataset, processor, recipe)
    cohort = Cohort(base, [recipe], encoded)
    (member,) = cohort.members
    (before,) = cohort.evaluate([member], encoded.splits["validation"])
    while member.state.step < member.total_steps:
        ((loss, size),) = cohort.forward_backward([member])
        if member.accumulate(loss, size):
            member.update()
    (after,) = cohort.evaluate([member], encoded.splits["validation"])
    return {
        "data": data, "method": recipe.method, "rate": recipe.learning_rate, "epochs": recipe.num_train_epochs,
        "seed": recipe.seed,
        "probe_loss": mean(before.losses), "probe_right": mean(before.right),
        "loss": mean(after.losses), "right": mean(after.right),
    }  # fmt: skip


def page(rows: list[dict[str, Any]]) -> str:
    """A line a cell: validation loss and accuracy by set, and how far from the set's best cell, over all."""
    sets = [s for s in SETS if any(r["data"] == s for r in rows)]
    cells = {(r["method"], r["rate"], r["epochs"]) for r in rows}

    def of(cell: tuple[Any, ...], data: str, key: str) -> float:
        some = [r[key] for r in rows if (r["method"], r["rate"], r["epochs"]) == cell and r["data"] == data]
        return mean(some) if some else float("nan")

    best = {s: min(of(c, s, "loss") for c in cells) for s in sets}
    lines = [
        "# Where a text classifier starts from", "",
        f"`bench/classifier_start.py`, {date.today()}: MiniLM-L6 from the frozen probe's head, batch 32, float32;"
        " validation loss (share right), means over seeds. Behind the best: mean over sets of the loss beyond the set's"
        " best cell.", "",
        f"| method | rate | epochs | {' | '.join(s.removeprefix('bundled:') for s in sets)} | behind the best |",
        f"|---|---|---|{'---|' * (len(sets) + 1)}",
    ]  # fmt: skip
    probe = [mean(r["probe_loss"] for r in rows if r["data"] == s) for s in sets]
    right = [mean(r["probe_right"] for r in rows if r["data"] == s) for s in sets]
    shown = " | ".join(f"{a:.3f} ({b:.1%})" for a, b in zip(probe, right, strict=True))
    lines.append(f"| frozen probe | | | {shown} | {mean(p - best[s] for p, s in zip(probe, sets, strict=True)):.3f} |")
    for cell in sorted(cells):
        shown = " | ".join(f"{of(cell, s, 'loss'):.3f} ({of(cell, s, 'right'):.1%})" for s in sets)
        behind = mean(of(cell, s, "loss") - best[s] for s in sets)
        lines.append(f"| {cell[0]} | {cell[1]:g} | {cell[2]:g} | {shown} | {behind:.3f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
