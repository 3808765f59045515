"""Which evaluation of a classifier to keep: by its loss, by its loss at the temperature that fits, or by accuracy.

    python bench/temperature.py [--seeds 3] [--out FOLDER]

Each run is looked at six times. What a rule would have kept is judged on test examples, which no rule saw: share right,
and loss of what would be saved (undivided, or at the temperature that the validation examples gave). Started again it
goes on. Writes results/temperature.md and .json.
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch

from trimtab.analysis import stats, temperature
from trimtab.run.adapters import Slice
from trimtab.run.cohort import Cohort
from trimtab.run.member import Member
from trimtab.spec.recipe import Recipe
from trimtab.tasks.task import find_task

HERE = Path(__file__).parent / "results"
LOOKS = 6
RUNS = (
    {"model": "bundled:minilm", "data": "bundled:questions", "method": "lora", "learning_rate": 1e-3},
    {"model": "bundled:minilm", "data": "bundled:film-reviews", "method": "lora", "learning_rate": 1e-3},
    {"model": "bundled:minilm", "data": "bundled:sms-spam", "method": "lora", "learning_rate": 1e-3},
    {"model": "bundled:squeezenet", "data": "bundled:emoji", "method": "full", "learning_rate": 3e-4},
)
RULES: dict[str, Any] = {
    "loss": lambda look: look["loss"],
    "loss at the temperature": lambda look: look["tempered"],
    "accuracy": lambda look: -look["right"],
    "the last": lambda look: -look["step"],
}


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--seeds", type=int, default=3)
    given.add_argument("--out", type=Path, default=HERE)
    asked = given.parse_args()
    file = asked.out / "temperature.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"] if file.exists() else []
    known = {(r["data"], r["seed"]) for r in rows}
    for seed in range(1, asked.seeds + 1):
        for run in RUNS:
            if (run["data"], seed) not in known:
                rows.append({"data": run["data"], "seed": seed, "looks": looked_at(recipe_of(run, seed))})
                file.write_text(json.dumps({"date": str(date.today()), "rows": rows}) + "\n")
                print(run["data"], seed, flush=True)
    (asked.out / "temperature.md").write_text("\n".join(page(rows)) + "\n")


def recipe_of(run: dict[str, Any], seed: int) -> Recipe:
    seen = run["data"] == "bundled:emoji"
    return Recipe(
        task="image-classification" if seen else "text-classification", seed=seed, num_train_epochs=3,
        per_device_train_batch_size=32 if seen else 16, max_length=96 if seen else 128, **run,
    )  # fmt: skip


def looked_at(recipe: Recipe) -> list[dict[str, Any]]:
    quiet = lambda _text: None  # noqa: E731
    task = find_task(recipe.task)
    dataset, processor = task.read(recipe.data, quiet), task.processor(recipe.model, quiet)
    base = task.load_base(recipe.model, dataset, processor, recipe.method == "full", False, "cpu", quiet)
    base.begin(recipe)
    data = task.encode(dataset, processor, recipe)
    cohort = Cohort(base, [recipe], data)
    (member,) = cohort.members
    ends = {member.steps_at(i / LOOKS) for i in range(1, LOOKS + 1)}
    looks = []
    while member.state.step < member.total_steps:
        ((loss, size),) = cohort.forward_backward([member])
        if member.accumulate(loss, size):
            member.update()
            if member.state.step in ends:
                looks.append({"step": member.state.step, **judged(cohort, member)})
    return looks


def judged(cohort: Cohort, member: Member) -> dict[str, Any]:
    (logs, truth), (unseen, labels) = (logits(cohort, member, split) for split in ("validation", "test"))
    degree = temperature.fitted(logs, truth)
    loss = lambda some, right: float(-some[np.arange(len(right)), right].mean())  # noqa: E731
    return {
        "temperature": degree, "loss": loss(logs, truth), "tempered": loss(temperature.at(logs, degree), truth),
        "right": float((logs.argmax(-1) == truth).mean()), "test_right": (unseen.argmax(-1) == labels).tolist(),
        "test_loss": loss(unseen, labels), "test_tempered": loss(temperature.at(unseen, degree), labels),
    }  # fmt: skip


@torch.no_grad()
def logits(cohort: Cohort, member: Member, split: str) -> tuple[np.ndarray, np.ndarray]:
    base, items = cohort.base, cohort.data.splits[split]
    training = base.model.training
    base.train(False)
    made = []
    for start in range(0, len(items), 50):
        batch = base.learning.collate(base, items[start : start + 50])
        out = base.learning.outputs(base, batch, [Slice(member.adapter, batch.rows, batch.length)])
        made.append(out.log_softmax(-1).double().cpu())
    base.train(training)
    return torch.cat(made).numpy(), np.array([i.label for i in items])


def page(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "# Which evaluation of a classifier is kept", "",
        f"`bench/temperature.py`, {date.today()}: three epochs, six looks; on test examples: share"
        " right, and loss of what is saved in nats. Accuracy against the first rule in points, 95 % interval over seeds"
        " and items.", "",
        "| set | seeds | kept by | right | against keeping by loss | loss | temperature |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for data in dict.fromkeys(r["data"] for r in rows):
        some = [r["looks"] for r in rows if r["data"] == data]
        plain = [min(looks, key=RULES["loss"]) for looks in some]
        lines += [_row(data, rule, [min(looks, key=RULES[rule]) for looks in some], plain) for rule in RULES]
    return lines


def _row(data: str, rule: str, kept: list[dict[str, Any]], plain: list[dict[str, Any]]) -> str:
    by_temperature = rule == "loss at the temperature"
    loss = mean(k["test_tempered" if by_temperature else "test_loss"] for k in kept)
    gap = stats.recipe_gain(
        [
            [float(a) - float(b) for a, b in zip(k["test_right"], p["test_right"], strict=True)]
            for k, p in zip(kept, plain, strict=True)
        ]
    )
    told = "" if rule == "loss" or gap is None else f"{100 * gap.value:+.1f}" + (
        f" [{100 * gap.low:.1f}, {100 * gap.high:.1f}]" if gap.low is not None and gap.high is not None else ""
    )  # fmt: skip
    degree = f"{mean(k['temperature'] for k in kept):.2f}" if by_temperature else "1"
    right = mean(mean(map(float, k["test_right"])) for k in kept)
    return f"| {data.removeprefix('bundled:')} | {len(kept)} | {rule} | {right:.1%} | {told} | {loss:.3f} | {degree} |"


if __name__ == "__main__":
    main()
