"""The tables of docs/card.md and docs/budget.md, printed from spec/numbers.csv. `python -m
tests.spec.numbers_tables` writes them."""

from __future__ import annotations

import re
from pathlib import Path

from trimtab.spec.budget import preset
from trimtab.spec.numbers import GROUPS, NUMBERS, PRESETS

DOCS = Path(__file__).parents[2] / "docs"
MARKS = ("<!-- printed from src/trimtab/spec/numbers.csv -->", "<!-- end -->")


def of_card() -> str:
    rows = ["| number | what it is | in | from level | needs | can be limited |", "|---|---|---|---|---|---|"]
    for n in NUMBERS.values():
        limited = "" if n.bounds is None else "in the presets" if n.limits else "yes"
        rows.append(f"| `{n.key}` | {GROUPS[n.group]}: {n.title} | {n.unit} | {n.level} | {n.needs} | {limited} |")
    return "\n".join(rows)


def of_budget() -> str:
    rows = [f"| number | what it is | in | {' | '.join(PRESETS)} | hard |", "|---|---|---|---|---|---|---|"]
    presets = [preset(p).limits for p in PRESETS]
    for key, limit in presets[0].items():
        n = NUMBERS[key]
        sides = [
            " ".join(f"{s} {v:g}" for s, v in (("≥", p[key].min), ("≤", p[key].max)) if v is not None) for p in presets
        ]
        rows.append(f"| `{key}` | {n.title} | {n.unit} | {' | '.join(sides)} | {'yes' if limit.hard else 'no'} |")
    others = ", ".join(f"`{n.key}`" for n in NUMBERS.values() if n.bounds and not n.limits)
    return "\n".join([*rows, "", f"Can be limited too: {others}, and `own-NAME` of [your own probes](probes.md)."])


TABLES = {"card.md": of_card, "budget.md": of_budget}


def replaced(text: str, table: str) -> str:
    start, end = map(re.escape, MARKS)
    return re.sub(f"{start}.*?{end}", lambda _: f"{MARKS[0]}\n{table}\n{MARKS[1]}", text, flags=re.S)


if __name__ == "__main__":
    for name, table in TABLES.items():
        path = DOCS / name
        path.write_text(replaced(path.read_text(encoding="utf-8"), table()), encoding="utf-8")
