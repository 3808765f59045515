"""What brings a run inside its budget, and at what price: the ladder on a run that is outside, seed by seed.

    python bench/inside.py [--data bundled:home-commands] [--budget standard] [--seeds 3] [--out FOLDER]

Trains one recipe with each seed (the demo's: rank 16, all linear layers), then `trimtab inside`. Every remedy that was
measured is a row: gain at the task with its interval, share of the unconstrained gain, each hard limit by the card and
the half of the probes that set its strength. A bench that was stopped goes on. The table goes to results/inside.md.
"""

from __future__ import annotations

import argparse
import time
from datetime import date
from pathlib import Path
from typing import Any

import trimtab
from trimtab.run import machine
from trimtab.spec.recipe import Recipe
from trimtab.tuning.ladder import rows_of

SETTINGS = {
    "learning_rate": 5e-4, "num_train_epochs": 1, "r": 16, "lora_alpha": 32, "max_length": 128,
    "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2,
}  # fmt: skip
HEAD = "| seed | remedy | gain, points [95 %] | of the gain | hard limits, by the card | the other half |"


def ladder_of(data: str, seed: int, budget: str, out: Path) -> dict[str, Any]:
    recipe = Recipe(model="bundled:smollm2", data=data, seed=seed, **SETTINGS)  # type: ignore[arg-type]
    run = trimtab.train(recipe, out=out)
    return dict(trimtab.inside(run.id, budget=budget, out=out))


def lines_of(seed: int, result: dict[str, Any]) -> list[str]:
    best = result["recommended"] and result["recommended"]["run"]
    lines = []
    for r in rows_of(result):
        bold = "**" if best and r["run"] == best else ""
        cells = [str(seed), f"{bold}{r['what']}{bold}", _gain(r), _kept(r), _limits(r), _side(r)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _gain(r: dict[str, Any]) -> str:
    g = r["gain"]
    return f"{100 * g['value']:+.1f} [{100 * g['low']:+.1f}, {100 * g['high']:+.1f}]" if g else "–"


def _kept(r: dict[str, Any]) -> str:
    return f"{r['kept']:.0%}" if r["kept"] is not None else "–"


def _limits(r: dict[str, Any]) -> str:
    hard = {k: n for k, n in r["numbers"].items() if n["hard"]}
    if not hard:
        return "not asked" if r["run"] else "no share well inside"
    return ", ".join(
        f"{k} {n['value']:.3g} [{n['below']:.3g}, {n['above']:.3g}] {n['verdict']}" for k, n in hard.items()
    )


def _side(r: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v:.3g}" for k, v in r["side"].items() if k in ("kl_generic", "refusal", "refusal_margin"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="bundled:home-commands")
    parser.add_argument("--budget", default="standard")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench-out/inside"))
    args = parser.parse_args()
    here, lines = machine.look(), []
    for seed in range(1, args.seeds + 1):
        began = time.monotonic()
        result = ladder_of(args.data, seed, args.budget, args.out)
        lines += lines_of(seed, result)
        print(seed, f"{time.monotonic() - began:.0f} s", result["sentence"], flush=True)
        text = "\n".join([
            "# Staying inside the budget", "",
            f"{date.today()}; SmolLM2-135M, {args.data}, {args.budget}; {here.name}, {here.threads} threads;"
            f" `bench/inside.py`. Bold: recommended. {seed} of {args.seeds} seeds.", "", HEAD,
            "|---|---|---|---|---|---|", *lines, "",
        ])  # fmt: skip
        (Path(__file__).parent / "results" / "inside.md").write_text(text)


if __name__ == "__main__":
    main()
