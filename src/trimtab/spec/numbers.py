"""Every behaviour number: what it is called, what it is in, what it needs, how far each preset lets it move. One row
of numbers.csv each.

What is measured for it is in behaviour/, how its interval is made in analysis/number_intervals.py; the tables of
docs/card.md and docs/budget.md are printed from these rows.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from trimtab.spec.status import Level

CLASS = "class-"  # and a label: whether each example of it was labelled right
OWN = "own-"  # and a probe's name: a person's own probes
CHANGE = "change of the share"
OPTIONAL = ("JSON answers", "labels")  # what many tasks do not have: a preset's limit on it counts only where they do
Preset = Literal["tight", "standard", "loose"]
PRESETS: tuple[Preset, ...] = ("tight", "standard", "loose")
Side = Literal["min", "max"]


@dataclass(frozen=True)
class Number:
    """`level`: the cheapest card that has it, where there is what it `needs`; `items`: what there would have to be
    more of.

    `bounds`: values it cannot leave, None where it cannot be limited. `side` and `limits` (by preset; reasons:
    docs/budget.md): what the presets hold it to; `hard` limits veto. `tightest`: the limit beyond which none can be
    shown to hold, and `shown_by` what. `seed_sd`: how far seeds alone moved it (SmolLM2-135M, five seeds of one
    recipe, bench/card_noise.py): changes below twice that are a seed's as likely as a setting's. `asked_by`: the
    question set that has to go on where it is not known yet (analysis/looks.py); "" where a fixed number is asked.
    """

    key: str
    group: str
    title: str
    unit: str
    level: Level
    needs: str = ""
    items: str = "items"
    bounds: tuple[float, float] | None = None
    side: Side = "max"
    limits: tuple[float, float, float] | None = None
    hard: bool = False
    tightest: float | None = None
    shown_by: str = ""
    seed_sd: float | None = None
    asked_by: str = ""


def _read(row: dict[str, str]) -> Number:
    return Number(
        **{k: row[k] for k in ("key", "group", "title", "unit", "needs", "items", "shown_by", "asked_by")},
        level=cast(Level, row["level"]),
        bounds=(float(row["lowest"]), float(row["highest"])) if row["lowest"] else None,
        side=cast(Side, row["side"] or "max"),
        limits=(float(row["tight"]), float(row["standard"]), float(row["loose"])) if row["tight"] else None,
        hard=row["veto"] == "hard",
        tightest=float(row["tightest"]) if row["tightest"] else None,
        seed_sd=float(row["seed_sd"]) if row["seed_sd"] else None,
    )


with Path(__file__).with_suffix(".csv").open(newline="", encoding="utf-8") as _file:
    NUMBERS = {row["key"]: _read(row) for row in csv.DictReader(_file)}
LIMITABLE = [n.key for n in NUMBERS.values() if n.bounds]
GROUPS = {
    "drift": "Drift",
    "style": "Style",
    "refusal": "Refusing",
    "format": "Form",
    "knowledge": "Knowledge",
    "calibration": "Calibration",
    "robustness": "Phrasing",
    "memory": "Memorising",
    "task": "The task",
    "labels": "The labels",
    "process": "The training",
    "own": "Your own probes",
    "speed": "Speed",
    "diagnosis": "Diagnosis",
}


def number_of(key: str) -> Number:
    """Also of one label (class-LABEL) or a person's own probe (own-NAME); KeyError for anything else."""
    if key.startswith(CLASS):
        title = f"… recall of “{key.removeprefix(CLASS)}”"
        return Number(key, "labels", title, CHANGE, "short", "labels", "examples of it")
    if key.startswith(OWN):
        return Number(key, "own", key.removeprefix(OWN), CHANGE, "card", bounds=(-1.0, 1.0))
    return NUMBERS[key]


def is_number(key: str) -> bool:
    """Of the table, of a label, or an own probe's."""
    return key in NUMBERS or key.startswith(CLASS) or (key.startswith(OWN) and len(key) > len(OWN))


def can_be_limited(key: str) -> bool:
    """Whether a budget may have a limit on it."""
    return is_number(key) and number_of(key).bounds is not None


def preset_limits(name: Preset) -> dict[str, dict[str, float | bool]]:
    """{number: {"max" or "min": …, "hard": …}}; what holds for labels alone comes last."""
    place = PRESETS.index(name)
    rows = sorted((n for n in NUMBERS.values() if n.limits), key=lambda n: n.group == "labels")
    limits = {n.key: {n.side: n.limits[place], "hard": n.hard} for n in rows if n.limits}
    limits["length_ratio"]["min"] = round(1 / limits["length_ratio"]["max"], 2)  # half as long is as far as twice
    return limits
