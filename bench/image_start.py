"""Which rate, length and variation of pictures an image classifier should start from: the bundled networks on the
bundled sets, by grid.

    python bench/image_start.py [--seeds 1] [--out FOLDER]

Every run trains all weights from the frozen probe's head on and is measured on validation pictures alone, so that the
test pictures stay fresh. Started again it goes on. Writes results/image-start.md and .json.
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

from classifier_start import HERE, trained
from trimtab.spec.recipe import Recipe
from trimtab.tasks.image_classification import ImageClassification

CASES = [*product(("bundled:squeezenet", "bundled:efficientnet-lite0"), ("bundled:emoji", "bundled:fashion-mnist"))]
VARIED = {"as they are": {}, "varied": {"random_crop": 0.1, "random_flip": True, "color_jitter": 0.2}}
CELLS = [*product((1e-4, 3e-4, 1e-3), (3.0,), VARIED)]
TASK = ImageClassification()


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--seeds", type=int, default=1)
    given.add_argument("--out", type=Path, default=HERE)
    asked = given.parse_args()
    file = asked.out / "image-start.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"] if file.exists() else []
    known = {(r["model"], r["data"], r["rate"], r["epochs"], r["pictures"], r["seed"]) for r in rows}
    for seed, (model, data), (rate, epochs, pictures) in product(range(1, asked.seeds + 1), CASES, CELLS):
        if (model, data, rate, epochs, pictures, seed) not in known:
            recipe = Recipe(
                model=model, data=data, task="image-classification", method="full", learning_rate=rate, seed=seed,
                num_train_epochs=epochs, per_device_train_batch_size=16, gradient_accumulation_steps=2, max_length=64,
                bf16=False, **VARIED[pictures],
            )  # fmt: skip
            rows.append({"model": model, "pictures": pictures, **trained(TASK, recipe)})
            print(rows[-1], flush=True)
            file.write_text(json.dumps({"date": str(date.today()), "rows": rows}, indent=1) + "\n")
    (asked.out / "image-start.md").write_text(page(rows))


def page(rows: list[dict[str, Any]]) -> str:
    """A line a cell: validation loss and accuracy by case, and how far from the case's best cell, over all."""
    cases = [c for c in CASES if any((r["model"], r["data"]) == c for r in rows)]

    def of(cell: tuple[Any, ...] | None, case: tuple[str, str], key: str) -> float:
        some = [
            r[key] for r in rows
            if (r["model"], r["data"]) == case and (cell is None or (r["rate"], r["epochs"], r["pictures"]) == cell)
        ]  # fmt: skip
        return mean(some) if some else float("nan")

    best = {c: min(of(cell, c, "loss") for cell in CELLS) for c in cases}
    names = " | ".join(f"{m.removeprefix('bundled:')}, {d.removeprefix('bundled:')}" for m, d in cases)
    lines = [
        "# Where an image classifier starts from", "",
        f"`bench/image_start.py`, {date.today()}: all weights from the frozen probe's head on, 1,000 pictures of 64 ×"
        " 64 pixels, batch 32, float32; validation loss (share right), means over seeds"
        f" ({max(r['seed'] for r in rows)}). Behind the best: mean over cases of the loss beyond the case's best cell.",
        "", f"| rate | epochs | pictures | {names} | behind the best |", f"|---|---|---|{'---|' * (len(cases) + 1)}",
    ]  # fmt: skip
    shown = " | ".join(f"{of(None, c, 'probe_loss'):.3f} ({of(None, c, 'probe_right'):.1%})" for c in cases)
    lines.append(f"| frozen probe | | | {shown} | {mean(of(None, c, 'probe_loss') - best[c] for c in cases):.3f} |")
    for cell in CELLS:
        shown = " | ".join(f"{of(cell, c, 'loss'):.3f} ({of(cell, c, 'right'):.1%})" for c in cases)
        behind = mean(of(cell, c, "loss") - best[c] for c in cases)
        lines.append(f"| {cell[0]:g} | {cell[1]:g} | {cell[2]} | {shown} | {behind:.3f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
