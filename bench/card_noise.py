"""How much of each card number is seed noise: five seeds of one recipe on the bundled model.

    python bench/card_noise.py [--seeds 5] [--level card] [--out FOLDER]

The recipe is a modest one (home commands, one epoch): whatever moves between its seeds is nobody's setting. SD by
number, beside half of the standard limit (a gated number should stay below it); results/card_noise.md. A bench that
was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from datetime import date
from pathlib import Path

import trimtab
from trimtab.spec.budget import preset
from trimtab.spec.recipe import Recipe

HERE = Path(__file__).parent / "results"
RECIPE = Recipe(
    model="bundled:smollm2", data="bundled:home-commands", r=8, max_length=128, learning_rate=4e-4, num_train_epochs=1,
    per_device_train_batch_size=4, gradient_accumulation_steps=2,
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--level", default="card")
    parser.add_argument("--out", type=Path, default=Path("bench-out/card-noise"))
    args = parser.parse_args()
    found: dict[str, list[float]] = {}
    for seed in range(1, args.seeds + 1):
        recipe = RECIPE.but(seed=seed)
        run = trimtab.train(recipe, out=args.out, gradient_shares=5)
        for row in trimtab.card(run.id, level=args.level, budget="standard", out=args.out)["rows"]:
            if row["value"] is not None:
                found.setdefault(row["number"], []).append(row["value"])
        print(f"seed {seed} measured", flush=True)
    write(found, args.seeds)


def write(found: dict[str, list[float]], seeds: int) -> None:
    limits = preset("standard").limits
    lines = [
        "# Seed noise of the card",
        "",
        f"SmolLM2-135M-Instruct, home commands, one epoch, {seeds} seeds, {date.today()}; `bench/card_noise.py`.",
        "",
        "| number | mean | SD over seeds | half of the standard limit | quiet enough |",
        "|---|---|---|---|---|",
    ]
    for key, values in found.items():
        sd = statistics.stdev(values) if len(values) > 1 else float("nan")
        limit = limits.get(key)
        edge = next((v for v in (limit.max, limit.min) if v is not None), None) if limit else None
        half = abs(edge) / 2 if edge is not None and key not in ("length_ratio", "format_validity") else None
        lines.append(
            f"| {key} | {statistics.fmean(values):.3g} | {sd:.3g} | {'' if half is None else f'{half:.3g}'} |"
            f" {'' if half is None else 'yes' if sd <= half else '**no**'} |"
        )
    HERE.joinpath("card_noise.md").write_text("\n".join(lines) + "\n")
    HERE.joinpath("card_noise.json").write_text(
        json.dumps({"date": str(date.today()), "values": found}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
