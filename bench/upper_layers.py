"""Upper layers alone, over kept states of the lower ones, against all layers: quality and seconds, with seeds.

    python bench/upper_layers.py [--task commands|docstrings] [--seeds 1,2,3] [--until MINUTES] [--out FOLDER]
    python bench/upper_layers.py --table

Each way trains one recipe (rank 16, all linear layers where it says, a rate of 2e-3) with several seeds: all layers
for half an epoch and for one, the upper quarter for one and for three, which takes about as long as all for one.
The gain over the untouched model with its interval over seeds and items, drift, seconds (lower states included).
results/upper-layers.json, results/upper-layers.md.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import date
from pathlib import Path
from typing import Any

import calibration
import trimtab
from trimtab.analysis import stats
from trimtab.run import machine
from trimtab.run.material import load_material
from trimtab.spec.progress import SILENT
from trimtab.spec.recipe import Recipe
from trimtab.store.folder import opened
from trimtab.workers.worker import Worker

HERE = Path(__file__).parent / "results"
TASKS = {"commands": ("bundled:home-commands", "exact_match"), "docstrings": ("", "overlap")}
LAYERS = 30  # of SmolLM2-135M
QUARTER = list(range(22, 30))
WAYS: dict[str, tuple[list[int] | None, float]] = {
    "all layers, 0.5 epochs": (None, 0.5),
    "all layers, 1 epoch": (None, 1),
    "upper quarter, 1 epoch": (QUARTER, 1),
    "upper quarter, 3 epochs": (QUARTER, 3),
}
SETTINGS: dict[str, Any] = {
    "learning_rate": 2e-3, "r": 16, "lora_alpha": 32, "max_length": 128, "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
}  # fmt: skip


def one(task: str, way: str, seed: int, out: Path) -> dict[str, Any]:
    data, metric = TASKS[task]
    layers, epochs = WAYS[way]
    recipe = Recipe(
        model="bundled:smollm2", data=data or str(calibration.docstrings(out)), seed=seed, num_train_epochs=epochs,
        layers_to_transform=layers, **SETTINGS,
    )  # fmt: skip
    began = time.monotonic()
    run = trimtab.train(recipe, out=out)
    seconds = time.monotonic() - began
    with opened(out, create=False) as store:
        row = store.run(run.id)
        worker = Worker(store, load_material(recipe.model, recipe.data, print), machine.look(1), SILENT)
        base = out / "base.json"  # asked once
        if not base.exists():
            base.write_text(json.dumps(worker.meter.measure_base(recipe)["numbers"]))
        said = worker.meter.measure_task([row.recipe])[run.id][metric]
        pulse = min(store.evaluations(run.id), key=lambda e: e["loss"])["pulse"]["kl_pulse"]
    gains = [t - b for t, b in zip(said, json.loads(base.read_text())[metric], strict=True)]
    return {"seconds": round(seconds, 1), "loop": round(row.result["seconds"], 1), "gains": gains,
            "drift": stats.average(pulse)}  # fmt: skip


def table(kept: dict[str, Any]) -> str:
    lines = [
        "# Upper layers alone",
        "",
        f"`bench/upper_layers.py`, SmolLM2-135M, {kept['machine']}, {kept['date']}; 60 held-out examples; the gain in"
        " points with its 95 % interval over seeds and items; the drift of a pulse; seconds beside other work, the"
        " lower layers' states included: compare them within a task.",
        "",
        "| task | way | seeds | gain | drift | seconds, median |",
        "|---|---|---|---|---|---|",
    ]
    for task in TASKS:
        for way in WAYS:
            seeds = kept["runs"].get(f"{task} | {way}", {})
            if not seeds:
                continue
            gain = stats.recipe_gain([s["gains"] for s in seeds.values()])
            drift, seconds = (sorted(s[k] for s in seeds.values()) for k in ("drift", "seconds"))
            assert gain
            interval = f"[{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]" if len(seeds) > 1 else "(one seed)"
            lines.append(
                f"| {task} | {way} | {len(seeds)} | {100 * gain.value:+.1f} {interval} | {drift[0]:.3f} to"
                f" {drift[-1]:.3f} | {seconds[len(seconds) // 2]:.0f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="commands")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--until", type=float, default=600.0)
    parser.add_argument("--out", type=Path, default=Path("bench-out/upper-layers"))
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    file, began = HERE / "upper-layers.json", time.monotonic()
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"runs": {}}
    for seed in [] if args.table else args.seeds.split(","):
        for way in WAYS:
            seeds = kept["runs"].setdefault(f"{args.task} | {way}", {})
            if seed in seeds or time.monotonic() - began > 60 * args.until:
                continue
            seeds[seed] = one(args.task, way, int(seed), args.out / args.task)
            kept |= {"machine": machine.look(1).name, "date": str(date.today())}
            file.write_text(json.dumps(kept) + "\n")
            print(args.task, way, seed, seeds[seed]["seconds"], stats.average(seeds[seed]["gains"]), flush=True)
    (HERE / "upper-layers.md").write_text(table(kept))


if __name__ == "__main__":
    main()
