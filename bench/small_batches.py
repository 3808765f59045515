"""Half an epoch in steps of 8, 4 or 2 examples: what a short study learns in the same number of tokens, and what they
cost in small passes.

    python bench/small_batches.py [--seeds 1,2,3] [--out FOLDER]

The demo's recipe, the rate with the batch's square root. Share of exact answers on 60 held-out examples, validation
loss, drift of the pulse, seconds of the passes; then seconds a token by micro-batch, timed as a study does, twice.
With ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 as a processor without quick kernels. Prints the table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import trimtab
from trimtab.analysis import stats
from trimtab.run import machine
from trimtab.run.material import load_material
from trimtab.spec.progress import SILENT
from trimtab.spec.recipe import Recipe
from trimtab.store.folder import opened
from trimtab.workers.worker import Worker

SETTINGS: dict[str, Any] = {
    "model": "bundled:smollm2", "data": "bundled:home-commands", "r": 16, "lora_alpha": 32, "max_length": 128,
    "warmup_steps": 0.05, "eval_steps": 0.5, "num_train_epochs": 0.5, "gradient_accumulation_steps": 1,
}  # fmt: skip
RATES = {8: 2.5e-3, 4: 1.77e-3, 2: 1.25e-3}


def learned(recipe: Recipe, out: Path) -> str:
    run = trimtab.train(recipe, out=out)
    with opened(out, create=False) as store:
        row = store.run(run.id)
        said = worker(store, recipe).meter.measure_task([row.recipe])[run.id]["exact_match"]
        best = min(store.evaluations(run.id), key=lambda e: e["loss"])
    batch, took = recipe.effective_batch, row.result["seconds"]
    drift = stats.average(best["pulse"]["kl_pulse"])
    return (
        f"| {batch} | {recipe.learning_rate:g} | {recipe.seed} | {stats.average(said):.1%} | {best['loss']:.3f} |"
        f" {drift:.2f} | {took:.0f} |"
    )


def worker(store: Any, recipe: Recipe) -> Worker:
    return Worker(store, load_material(recipe.model, recipe.data, lambda _: None), machine.look(1), SILENT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--out", type=Path, default=Path("bench-out/small-batches"))
    args = parser.parse_args()
    print("| batch | rate | seed | exact match | loss | drift | seconds |\n|---|---|---|---|---|---|---|")
    recipes = [Recipe(learning_rate=rate, per_device_train_batch_size=b, **SETTINGS) for b, rate in RATES.items()]
    for recipe in recipes:
        for seed in map(int, args.seeds.split(",")):
            print(learned(recipe.but(seed=seed), args.out), flush=True)
    print("\n| micro-batch | ms a token, twice |\n|---|---|")
    with opened(args.out) as store:
        for recipe in recipes:
            timed = [1000 * worker(store, recipe).seconds_per_size(recipe.but(bf16=machine.look().bf16)) for _ in "ab"]
            print(f"| {recipe.effective_batch} | {timed[0]:.2f}, {timed[1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
