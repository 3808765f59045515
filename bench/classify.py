"""Classifiers: the frozen probe, `trimtab tune`, and what people write today, on the same examples and seeds.

    python bench/classify.py [--seeds 3] [--time 2m] [--only SET] [--out FOLDER]

Beside each study a plain script with its library's defaults: transformers' Trainer for texts, a PyTorch loop for
pictures (bench/example_scripts.py, the articles' loop without its two rates). A study gives one recommendation over
its own seeds; the script is run once a seed. Kept as it is measured in results/classify/; the table goes to
results/classify.md.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any

import example_scripts as scripts
import trimtab
from trimtab.analysis import stats
from trimtab.spec.durations import parse
from trimtab.spec.recipe import Recipe
from trimtab.store import Store

RESULTS = Path(__file__).parent / "results" / "classify"
SETS = (
    ("bundled:minilm", "bundled:questions"), ("bundled:minilm", "bundled:film-reviews"),
    ("bundled:minilm", "bundled:sms-spam"), ("bundled:squeezenet", "bundled:emoji"),
    ("bundled:squeezenet", "bundled:fashion-mnist"),
)  # fmt: skip


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--seeds", type=int, default=3)
    given.add_argument("--time", default="2m")
    given.add_argument("--only")
    given.add_argument("--out", type=Path, default=Path("out-classify"))
    asked = given.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for model, data in SETS:
        name = data.removeprefix("bundled:")
        if asked.only in (None, name):
            place = asked.out / f"{name}-{asked.time}"
            kept(f"{name}-tune-{asked.time}", lambda m=model, d=data, p=place: tuned(m, d, p, asked.time))  # type: ignore[misc]
            for seed in range(1, asked.seeds + 1):
                kept(f"{name}-plain-{seed}", lambda m=model, d=data, s=seed: plain(m, d, s, asked.out))  # type: ignore[misc]
    (RESULTS.parent / "classify.md").write_text("\n".join(page()) + "\n", encoding="utf-8")


def kept(name: str, work: Any) -> None:
    file = RESULTS / f"{name}.json"
    if not file.exists():
        file.write_text(json.dumps({"date": str(date.today()), **work()}, indent=1) + "\n")
        print(name, flush=True)


def tuned(model: str, data: str, out: Path, allowed: str) -> dict[str, Any]:
    began = time.monotonic()
    made = trimtab.tune(model, data, seconds=parse(allowed), out=out)
    seconds = time.monotonic() - began
    rows = {run: Store(out).run(run).result["task"]["accuracy"] for run in made["runs"]}
    probe = Store(out).study(made["study"]).facts.base["numbers"]["accuracy"]  # type: ignore[union-attr,index]
    kept = {k: made[k] for k in ("base", "tuned", "gain", "counted", "standing")}
    return {"seconds": seconds, "allowed": allowed, "probe": probe, "right": rows, **kept}


def plain(model: str, data: str, seed: int, out: Path) -> dict[str, Any]:
    if data.removeprefix("bundled:") in ("emoji", "fashion-mnist"):
        recipe = Recipe(
            model=model, data=data, task="image-classification", method="full", learning_rate=1e-3,
            head_learning_rate=1e-3, num_train_epochs=10, per_device_train_batch_size=32, max_length=96,
            random_crop=0.125, random_flip=True, early_stopping_patience=10,
        )  # fmt: skip
        return scripts.images(recipe, seed)
    return scripts.texts(model, data, seed, out)


def page() -> list[str]:
    lines = [
        "# Classifiers beside what people write today", "",
        f"`bench/classify.py`, {date.today()}: accuracy on test examples, differences in points, 95 % intervals."
        " The script: transformers' Trainer as it comes (rate 5e-5, batch 8, three epochs), or a plain PyTorch loop"
        " (AdamW at 1e-3, ten epochs, crop and flip).", "",
        "| set, time allowed | frozen probe | the study | gain over the probe | seconds | the script | seconds"
        " | study − script |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for _, data in SETS:
        name = data.removeprefix("bundled:")
        plains = [json.loads(f.read_text()) for f in sorted(RESULTS.glob(f"{name}-plain-*.json"))]
        studies = [json.loads(f.read_text()) for f in RESULTS.glob(f"{name}-tune-*.json")]
        for study in sorted(studies, key=lambda s: parse(s["allowed"])):
            if plains:
                lines.append(_row(f"{name}, {study['allowed']}", study, plains))
    return lines


def _row(name: str, study: dict[str, Any], plains: list[dict[str, Any]]) -> str:
    runs = [*study["right"].values()]
    ours = [mean(item) for item in zip(*runs, strict=True)]  # over seeds, item by item
    gap = stats.recipe_gain([[a - b for a, b in zip(ours, p["right"], strict=True)] for p in plains])
    gain = study["gain"]
    assert gap is not None
    return (
        f"| {name} | {study['base']:.1%} | {study['tuned']:.1%} ({study['counted']} seeds) |"
        f" {_points(gain['value'], gain['low'], gain['high'])} | {study['seconds']:.0f} |"
        f" {mean(mean(p['right']) for p in plains):.1%} ({len(plains)}) | {mean(p['loop'] for p in plains):.0f} |"
        f" {_points(gap.value, gap.low, gap.high)} |"
    )


def _points(value: float, low: float | None, high: float | None) -> str:
    return f"{100 * value:+.1f}" + (
        f" [{100 * low:.1f}, {100 * high:.1f}]" if low is not None and high is not None else ""
    )


if __name__ == "__main__":
    main()
