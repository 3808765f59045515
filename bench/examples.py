"""The articles' three examples: their settings as recipes, what the forecast says of them as written, and what came out
where they could be run, beside the script as written, with the same seeds.

    python bench/examples.py [--only sentiment|images|instructions] [--seeds 2] [--out FOLDER]
    python bench/examples.py --pages

Their models (Llama-2-7B, ResNet-18, Qwen2.5-7B) are run as the bundled ones of their kind: SmolLM2 of 135M, two small
ImageNet networks, SmolLM2 as a chat model. Results are kept as they are measured in results/examples/; the pages go to
docs/examples/.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any

import example_pages
import example_scripts as scripts
import trimtab
from trimtab.analysis.label_scores import macro_f1
from trimtab.datasets import labelled_texts
from trimtab.datasets.assets import fetch
from trimtab.spec.options import StudyOptions
from trimtab.spec.recipe import Recipe
from trimtab.spec.yaml_file import load_recipe
from trimtab.store import Store

HERE = Path(__file__).parent
RESULTS, RECIPES = HERE / "results" / "examples", HERE.parent / "examples"
SIZES = {"train": 120, "validation": 60, "test": 300}  # of the reviews: 800 and 200 in the article
FORECASTS: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "sentiment": [
        (words, "16GB", {"trainer": "transformers", "optim": "adamw_torch_fused", "autocast": "fp16", "r": 8, **more})
        for words, more in (
            ("as written: transformers, all weights, fp16", {"dtype": "float32", "gradient_checkpointing": False}),
            ("LoRA", {"method": "lora", "dtype": "float16", "gradient_checkpointing": False}),
            ("LoRA, recomputing", {"method": "lora", "dtype": "float16", "gradient_checkpointing": True}),
            ("QLoRA", {"method": "qlora", "dtype": "float16", "gradient_checkpointing": True}),
        )
    ],
    "images": [("as written, in our own loop", "8GB", {}), ("the same at 224 pixels", "8GB", {"max_length": 224})],
    "instructions": [
        (words, "24GB", {"trainer": "transformers", "optim": "adamw_torch_fused", "autocast": "bf16", **more})
        for words, more in (
            ("as written: LLaMA-Factory (recomputes unless told not to)", {"gradient_checkpointing": True}),
            ("without recomputing", {"gradient_checkpointing": False}),
            ("with Liger kernels", {"gradient_checkpointing": True, "use_liger_kernel": True}),
            ("with Liger kernels, without recomputing", {"gradient_checkpointing": False, "use_liger_kernel": True}),
        )
    ],
}  # fmt: skip
FILES = {"sentiment": "sentiment_llama2.yaml", "images": "resnet18_cifar10.yaml", "instructions": "qwen25_7b_lora.yaml"}
NETWORKS = (("bundled:squeezenet", "bundled:emoji"), ("bundled:efficientnet-lite0", "bundled:fashion-mnist"))


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--only", choices=list(FILES))
    given.add_argument("--seeds", type=int, default=2)
    given.add_argument("--out", type=Path, default=HERE / "out-examples")
    given.add_argument("--pages", action="store_true")
    asked = given.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    runs: dict[str, Callable[[Path, int], Iterator[tuple[str, Callable[[], dict[str, Any]]]]]] = {
        "sentiment": sentiment, "images": images, "instructions": instructions,
    }  # fmt: skip
    for name in [asked.only] if asked.only else [] if asked.pages else list(FILES):
        for case, work in (*forecasts(name), *runs[name](asked.out, asked.seeds)):
            file = RESULTS / f"{name}-{case}.json"
            if not file.exists():
                began = time.monotonic()
                measured = work()
                print(name, case, f"{time.monotonic() - began:.0f} s", flush=True)
                file.write_text(json.dumps({"date": str(date.today()), **measured}, indent=1) + "\n")
    example_pages.write(RESULTS, HERE.parent / "docs" / "examples")


def forecasts(name: str) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    def ask() -> dict[str, Any]:
        rows = []
        for words, card, changes in FORECASTS[name]:
            recipe = load_recipe(RECIPES / FILES[name])
            own = {k: v for k, v in recipe.model_dump().items() if k in trimtab_workload() and v is not None} | changes
            own = {k: v for k, v in own.items() if k not in ("layers_to_transform",)}
            made = trimtab.forecast(own=own | ({"task": recipe.task} if recipe.task != "sft" else {}), gpu=card)
            rows.append({"case": words, "card": card, "gib": made["memory"]["used"] / 2**30, "fit": made["fit"]})
        return {"rows": rows}

    yield "forecast", ask


def trimtab_workload() -> set[str]:
    from trimtab.spec.workload import Workload

    return set(Workload.model_fields)


# sentiment


def reviews(out: Path) -> dict[str, Path]:
    """The bundled film reviews, cut to a size that a processor trains a 135M model on in minutes."""
    folder = out / "reviews"
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in labelled_texts.rows_by_split("film-reviews", fetch("labelled-texts")).items():
        text = "".join(json.dumps(r) + "\n" for r in rows[: SIZES[split]])
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return {split: folder / f"{split}.jsonl" for split in SIZES}


def sentiment(out: Path, seeds: int) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    files = reviews(out)
    recipe = load_recipe(RECIPES / FILES["sentiment"], ["model=bundled:smollm2", f"data={files['train'].parent}"])

    def ours(seed: int, **more: Any) -> dict[str, Any]:
        began = time.monotonic()
        run = trimtab.train(recipe.but(seed=seed, **more), out=out)
        seconds = time.monotonic() - began
        answers = trimtab.predict(run.id, [str(files["test"])], out=out)
        picks = [r["label"] for r in answers["rows"]]
        return {"seconds": seconds, "loop": run.result["seconds"], **scored(files["test"], picks)}

    for seed in range(1, seeds + 1):
        yield f"written-{seed}", lambda s=seed: scored_script(scripts.sentiment(files, s, out), files["test"])  # type: ignore[misc]
        yield f"ours-{seed}", lambda s=seed: ours(s)  # type: ignore[misc]
        yield f"lora-{seed}", lambda s=seed: ours(s, method="lora", learning_rate=2e-4, r=8, lora_alpha=16)  # type: ignore[misc]


def scored_script(made: dict[str, Any], test: Path) -> dict[str, Any]:
    return {"seconds": made["seconds"], "loop": made["loop"], **scored(test, made["picks"])}


def scored(test: Path, picks: Sequence[str]) -> dict[str, Any]:
    import numpy as np

    truth = [json.loads(line)["label"] for line in test.read_text("utf-8").splitlines()]
    names = sorted({*truth, *picks})
    places = [np.array([names.index(x) for x in some]) for some in (truth, picks)]
    return {"f1": macro_f1(*places), "right": [float(a == b) for a, b in zip(truth, picks, strict=True)]}


# images


def images(out: Path, seeds: int) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """The recipe on 1,000 pictures of 64 pixels: as many epochs with patience as the article, batch 32."""
    for model, data in NETWORKS:
        name = data.removeprefix("bundled:")
        recipe = load_recipe(
            RECIPES / FILES["images"],
            [f"model={model}", f"data={data}", "max_length=64", "per_device_train_batch_size=32", "num_train_epochs=12",
             "eval_steps=0.0833", "bf16=false"],
        )  # fmt: skip
        yield f"ablation-{name}", lambda r=recipe, n=name: ablated(r, out / f"images-{n}", max(3, seeds))  # type: ignore[misc]
        for seed in range(1, seeds + 1):
            yield f"written-{name}-{seed}", lambda r=recipe, s=seed: scripts.images(r, s)  # type: ignore[misc]
            yield f"ours-{name}-{seed}", lambda r=recipe, s=seed, n=name: seen(r.but(seed=s), out / f"images-{n}")  # type: ignore[misc]


def seen(recipe: Recipe, out: Path) -> dict[str, Any]:
    """A run that the ablation trained: its accuracy on the test pictures, and its seconds in the loop."""
    from trimtab.run import machine, material
    from trimtab.spec.progress import SILENT
    from trimtab.workers.worker import Worker, WorkerSpec

    run = trimtab.train(recipe, out=out)
    store = Store(out)
    what = material.load_material(recipe.model, recipe.data, print, task=recipe.task)
    worker = Worker(store, what, machine.look(), SILENT, WorkerSpec(task=recipe.task, method="full"))
    numbers = worker.measure_task([run.recipe])[run.id]["accuracy"]
    return {"loop": run.result["seconds"], "steps": run.result["step"], "right": numbers}


def ablated(recipe: Recipe, out: Path, seeds: int) -> dict[str, Any]:
    parts = ["augmentation", "weight_decay", "scheduler", "layer_rates"]
    made = trimtab.study("ablate", recipe, parts, seeds=seeds, options=StudyOptions(out=out, yes=True))
    return {"sentence": made["sentence"], "cells": made["cells"], "seeds": seeds}


# instructions


def instructions(out: Path, seeds: int) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    recipe = load_recipe(
        RECIPES / FILES["instructions"], ["model=bundled:smollm2", "data=bundled:home-commands"]
    )  # fmt: skip
    planned = trimtab.plan("bundled:smollm2", "bundled:home-commands")["recipe"]
    for seed in range(1, seeds + 1):
        for name, one in (("written", recipe), ("planned", Recipe.model_validate(planned))):
            yield f"{name}-{seed}", lambda r=one, s=seed: answered(r.but(seed=s), out)  # type: ignore[misc]


def answered(recipe: Recipe, out: Path) -> dict[str, Any]:
    run = trimtab.train(recipe, out=out)
    judged = trimtab.card(run.id, out=out, level="short")
    rows = {r["number"]: {k: r[k] for k in ("tuned", "base", "value", "low", "high")} for r in judged["rows"]}
    kept = ("exact_match", "overlap", "kl_generic", "forgetting", "kl_pulse")
    task = Store(out).run(run.id).result.get("task", {})
    return {
        "loop": run.result["seconds"], "loss": run.result["best_loss"], "verdict": judged["verdict"],
        "rows": {k: v for k, v in rows.items() if k in kept}, "task": {k: mean(v) for k, v in task.items()},
        "settings": {k: v for k, v in recipe.model_dump().items() if k in example_pages.SHOWN},
    }  # fmt: skip


if __name__ == "__main__":
    main()
