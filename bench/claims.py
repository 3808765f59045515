"""What the articles say that each setting does to a model, measured: one setting moved at a time from one recipe.

    python bench/claims.py [--out FOLDER]

The recipe and its spread over seeds are bench/card_noise.py's (run that first, into the same folder); a claim is
"seen" where the two ends of a setting differ by more than twice the spread of a difference of two seeds.
results/claims.md. Goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import statistics
from datetime import date
from pathlib import Path
from typing import Any

import trimtab
from card_noise import RECIPE

HERE = Path(__file__).parent / "results"
MOVED: dict[str, list[dict[str, Any]]] = {
    "learning_rate": [{"learning_rate": v} for v in (1e-4, 4e-4, 1.6e-3)],
    "effective batch": [
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 1},
        {},
        {"gradient_accumulation_steps": 8},
    ],
    "num_train_epochs": [{"num_train_epochs": v} for v in (1, 2, 5)],
    "weight_decay": [{"weight_decay": v} for v in (0.0, 0.1, 1.0)],
    "r": [{"r": v} for v in (2, 8, 64)],
}
# What is said (EXAMPLES' first table) -> setting, number, whether it is said to rise with the setting.
CLAIMS = [
    ("a larger rate drifts further from the base", "learning_rate", "kl_generic", True),
    ("a larger rate sounds surer", "learning_rate", "assertiveness", True),
    ("a larger rate leans less towards refusing", "learning_rate", "refusal_margin", False),
    ("a larger rate forgets more", "learning_rate", "nll_change", True),
    ("a small batch is dragged along by few samples", "effective batch", "largest voice", False),
    ("a large batch moves the model less", "effective batch", "kl_generic", False),
    ("more epochs make it surer of the task", "num_train_epochs", "task sure", True),
    ("… and no better at it", "num_train_epochs", "task right", False),
    ("more epochs make it surer of facts than right", "num_train_epochs", "overconfidence", True),
    ("more epochs entrench: examples told from unseen ones", "num_train_epochs", "memorisation", True),
    ("strong decay keeps it near the start", "weight_decay", "kl_generic", False),
    ("a low rank is stable, a high one may learn a mess", "r", "kl_generic", True),
]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("bench-out/card-noise"))
    args = parser.parse_args()
    kept = HERE / "claims.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    for setting, ways in MOVED.items():
        for way in ways:
            recipe = RECIPE.but(**way)
            key = recipe.run_id
            if key not in found:
                found[key] = {"setting": setting, **_measured(recipe, args.out)}
                kept.write_text(json.dumps(found, indent=1) + "\n")
                print(setting, way, "measured", flush=True)
    seeds = [found.get((r := RECIPE.but(seed=s)).run_id) or _measured(r, args.out) for s in range(1, 6)]
    spread = {
        k: statistics.stdev([s["numbers"][k] for s in seeds])
        for k in seeds[0]["numbers"]
        if all(s["numbers"].get(k) is not None for s in seeds)
    }
    (HERE / "claims.md").write_text(table(found, spread))


def _measured(recipe: Any, out: Path) -> dict[str, Any]:
    run = trimtab.train(recipe, out=out, gradient_shares=5)
    card = trimtab.card(run.id, level="short", budget="standard", out=out)
    numbers = {r["number"]: r["value"] for r in card["rows"]}
    best = min(card["epochs"], key=lambda e: e["loss"])
    largest = [s["largest"] for s in trimtab.gradient_shares(run.id, out)["series"]]
    heard = {"largest voice": statistics.fmean(largest) if largest else None}
    return {"numbers": numbers | heard | {"task sure": best["sure"], "task right": best["right"]}}


def table(found: dict[str, Any], spread: dict[str, float]) -> str:
    lines = [
        "# The articles' claims, measured",
        "",
        (
            f"SmolLM2-135M-Instruct, home commands, one run a cell, card at level short, {date.today()};"
            f" `bench/claims.py`. Start: rate {RECIPE.learning_rate:g}, effective batch {RECIPE.effective_batch},"
            f" {RECIPE.num_train_epochs:g} epoch, r {RECIPE.r}, no decay. SD: of the start over five seeds. Seen: the"
            " ends differ as is said, by more than 2·√2 SD; contrary: the other way."
        ),
        "",
        "| it is said | setting | number | low, middle, high | SD | found |",
        "|---|---|---|---|---|---|",
    ]
    for text, setting, key, rises in CLAIMS:
        values = [
            found[i]["numbers"].get(key) if (i := RECIPE.but(**way).run_id) in found else None for way in MOVED[setting]
        ]
        cells = ", ".join("?" if v is None else f"{v:.3g}" for v in values)
        lines.append(
            f"| {text} | {setting} | {key} | {cells} | {spread.get(key, float('nan')):.2g} |"
            f" {_found(values, rises, spread.get(key))} |"
        )
    return "\n".join(lines) + "\n"


def _found(values: list[float | None], rises: bool, sd: float | None) -> str:
    low, high = values[0], values[-1]
    if low is None or high is None or sd is None:
        return "not measured yet"
    moved = (high - low) * (1 if rises else -1)
    edge = 2 * 2**0.5 * sd
    return "seen" if moved > edge else "contrary" if moved < -edge else "not seen"


if __name__ == "__main__":
    main()
