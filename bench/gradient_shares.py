"""What telling examples apart costs: the share of a step's time that goes into it, with accumulation and with
--gradient-shares.

    python bench/gradient_shares.py [--steps 12]

SmolLM2-135M, LoRA r = 8; time inside run/gradient_shares.py against the time of whole steps, in one run;
results/voices.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch

from trimtab.datasets.prepare import load, tokenise_dataset
from trimtab.run import machine
from trimtab.run.cohort import Cohort
from trimtab.run.gradient_shares import GradientShares
from trimtab.spec.progress import silent
from trimtab.spec.recipe import Recipe
from trimtab.tasks.task import find_task
from trimtab.workers.model_cache import ModelCache

CASES = {
    "4 micro-batches of 4": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4},
    "8 micro-batches of 1": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
    "1 micro-batch of 8": {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=12)
    steps = parser.parse_args().steps
    here = machine.look()
    torch.set_num_threads(here.threads)
    model_cache = ModelCache(find_task("sft"), "bundled:smollm2", here, silent)
    data = tokenise_dataset(load("bundled:home-commands", say=lambda _: None), model_cache.processor, 128)
    results = {}
    for name, sizes in CASES.items():
        recipe = Recipe(model="m", data="d", r=8, max_length=128, max_steps=steps, **sizes)
        results[name] = measure(Cohort(model_cache.base(), [recipe], data), steps)
        print(name, results[name], flush=True)
    every = 6
    recipe = Recipe(model="m", data="d", r=8, max_length=128, max_steps=steps, **CASES["1 micro-batch of 8"])
    results["1 micro-batch of 8, --gradient-shares 6"] = listened(
        Cohort(model_cache.base(), [recipe], data, shares_every=every), steps, every
    )
    print(results)
    kept = {
        "date": str(date.today()),
        "machine": here.as_dict(),
        "torch": torch.__version__,
        "results": results,
        "goal": "<= 0.03",
    }
    (Path(__file__).parent / "results" / "voices.json").write_text(json.dumps(kept, indent=1) + "\n")


def measure(cohort: Cohort, steps: int) -> dict[str, float]:
    spent = [0.0]
    for method in ("hear", "update", "weigh", "moved"):
        setattr(GradientShares, method, _timed(getattr(GradientShares, method), spent))
    try:
        shares = []
        (member,) = cohort.members
        for _ in range(steps):
            spent[0], began = 0.0, time.perf_counter()
            while not member.accumulate(*cohort.forward_backward([member])[0]):
                pass
            member.update()
            shares.append(spent[0] / (time.perf_counter() - began))
    finally:
        for method in ("hear", "update", "weigh", "moved"):
            setattr(GradientShares, method, getattr(GradientShares, method).plain)
    return {"share_of_a_step_median": statistics.median(shares), "mean": statistics.fmean(shares)}


def listened(cohort: Cohort, steps: int, every: int) -> dict[str, float]:
    """Steps that are also taken example by example against those that are not."""
    (member,) = cohort.members
    times: dict[bool, list[float]] = {True: [], False: []}
    for step in range(steps):
        began = time.perf_counter()
        while not member.accumulate(*cohort.forward_backward([member])[0]):
            pass
        member.update()
        times[step % every == 0].append(time.perf_counter() - began)
    one = statistics.median(times[True]) / statistics.median(times[False])
    return {"a_listened_step_takes_times": one, "price_with_20": (one - 1) / 20}


def _timed(plain: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    def timed(*args: Any) -> Any:
        began = time.perf_counter()
        try:
            return plain(*args)
        finally:
            spent[0] += time.perf_counter() - began

    timed.plain = plain  # type: ignore[attr-defined]
    return timed


if __name__ == "__main__":
    main()
