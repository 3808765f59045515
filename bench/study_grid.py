"""The full grid that bench/study.py replays strategies on: 27 recipes on the bundled model, each trained whole,
alone, with three seeds.

    python bench/study_grid.py [--out FOLDER] [--seeds 3]

learning_rate × effective batch × epochs on 96 home commands, 40 held out. results/study_grid.json keeps, by run:
tokens, seconds and the loss of every held-out item at every rung. A grid that was stopped goes on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from datetime import date
from pathlib import Path

import trimtab
from trimtab.datasets.read import read
from trimtab.spec.progress import SILENT
from trimtab.spec.recipe import Recipe
from trimtab.store.folder import opened

HERE = Path(__file__).parent / "results"
LEVELS = {"learning_rate": (3e-4, 1e-3, 3e-3), "effective_batch": (4, 8, 16), "num_train_epochs": (0.5, 1.0, 2.0)}
TRAIN, HELD_OUT = 96, 40


def data(out: Path) -> Path:
    """The bundled commands, cut to a size that 81 whole runs can be paid for."""
    folder = out / "data"
    folder.mkdir(parents=True, exist_ok=True)
    rows = read("bundled:home-commands").rows
    for name, most in (("train", TRAIN), ("validation", HELD_OUT)):
        lines = [json.dumps(r, ensure_ascii=False) for r in rows[name][:: len(rows[name]) // most][:most]]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def recipe(folder: Path, way: dict[str, float], seed: int) -> Recipe:
    return Recipe(
        model="bundled:smollm2",
        data=str(folder),
        r=8,
        max_length=128,
        seed=seed,
        learning_rate=way["learning_rate"],
        num_train_epochs=way["num_train_epochs"],
        per_device_train_batch_size=4,
        gradient_accumulation_steps=int(way["effective_batch"]) // 4,
    )


def ways() -> list[dict[str, float]]:
    return [dict(zip(LEVELS, v, strict=True)) for v in itertools.product(*LEVELS.values())]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("bench-out/study"))
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    folder = data(args.out)
    planned = {r["setting"]: r["value"] for r in trimtab.plan("bundled:smollm2", str(folder))["settings"]}
    with opened(args.out) as store:
        from trimtab.run import machine, material
        from trimtab.workers.worker import Worker

        here = machine.look()
        began = time.monotonic()
        worker = Worker(store, material.load_material("bundled:smollm2", str(folder), print), here, SILENT)
        worker.seconds_per_size(recipe(folder, ways()[0], 1))
        loading = time.monotonic() - began
        kept = []
        for seed in range(1, args.seeds + 1):
            for way in ways():
                made = worker.material.named_in(recipe(folder, way, seed))
                began = time.monotonic()
                worker.train([made])
                if "wall" not in store.run(made.run_id).result:  # a run that was there already took its time then
                    store.update_run(made.run_id, result={"wall": time.monotonic() - began})
                row = store.run(made.run_id)
                rungs = [
                    {
                        "share": e["share"],
                        "loss": e["loss"],
                        "items": [round(v, 5) for v in e["items"]],
                        "kl": sum(e["pulse"]["kl_pulse"]) / len(e["pulse"]["kl_pulse"]),
                    }
                    for e in store.evaluations(made.run_id)
                ]
                kept.append(
                    {
                        "way": way,
                        "seed": seed,
                        "tokens": row.result["size"],
                        "seconds": row.result["seconds"],
                        "wall": row.result["wall"],
                        "rungs": rungs,
                    }
                )
                print(f"{len(kept)} {way} seed {seed}: {rungs[-1]['loss']:.4f}, {row.result['wall']:.1f} s", flush=True)
        HERE.joinpath("study_grid.json").write_text(
            json.dumps(
                {
                    "date": str(date.today()),
                    "machine": here.as_dict(),
                    "levels": LEVELS,
                    "loading": loading,
                    "plan": {k: planned[k] for k in LEVELS},
                    "runs": kept,
                }
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
