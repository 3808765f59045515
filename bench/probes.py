"""Do trimtab's own probes say what known sets say? XSTest and OpenBookQA beside them, base and tuned, on the bundled
model.

    python bench/probes.py --sets FOLDER NAME=ADAPTER [NAME=ADAPTER …]

FOLDER holds xstest_prompts.csv and openbookqa_499.jsonl (not shipped; see their own licences). For each adapter the
change of refusals, over-refusals, right answers and flips by our probes and by the known set, with 95 % intervals,
and whether the two intervals meet; test-retest under tiny weight noise; how many of our items separate anything.
results/probes.md.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from trimtab.analysis import stats
from trimtab.behaviour.answering import EvaluatedModel, answers
from trimtab.behaviour.floor import noise
from trimtab.behaviour.multiple_choice import option_probabilities
from trimtab.behaviour.style import refusal
from trimtab.probes import prompts
from trimtab.probes.prompts import Fact, as_messages
from trimtab.run import machine
from trimtab.run.checkpoint import load_adapter
from trimtab.tasks.task import find_task
from trimtab.workers.model_cache import ModelCache

OPTIONS = 250  # of OpenBookQA's questions
TOKENS = 32


def known_facts(folder: Path) -> list[Fact]:
    rows = [json.loads(line) for line in (folder / "openbookqa_499.jsonl").read_text(encoding="utf-8").splitlines()][
        :OPTIONS
    ]
    found = []
    for i, row in enumerate(rows):
        options = [o[3:] for o in row["options"].split("\n")]
        right = "ABCD".index(row["answer"][0])
        ordered = (options[right], *(o for j, o in enumerate(options) if j != right))
        found.append(Fact(f"k{i}", "known", row["question"], tuple(ordered), (options[right],)))
    return found


def known_requests(folder: Path, label: str) -> list[str]:
    with (folder / "xstest_prompts.csv").open(encoding="utf-8") as handle:
        return [row["prompt"] for row in csv.DictReader(handle) if row["label"] == label]


def refused(evaluated: EvaluatedModel, prompts: Sequence[str]) -> list[float]:
    return [float(refusal(a.text, "en") == "full") for a in answers(evaluated, as_messages(prompts), TOKENS)]


def picks(evaluated: EvaluatedModel, facts: Sequence[Fact]) -> list[int]:
    rows = option_probabilities(evaluated, [f.question for f in facts], facts, "en")
    return [max(range(len(p)), key=p.__getitem__) for p in rows]


def measure(evaluated: EvaluatedModel, sets: dict[str, Any]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for name, items in sets.items():
        found[name] = (
            [float(p) for p in picks(evaluated, items)] if name.startswith("facts") else refused(evaluated, items)
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", type=Path, required=True)
    parser.add_argument("adapters", nargs="+", help="NAME=FOLDER of an adapter in PEFT's form")
    args = parser.parse_args()
    model_cache = ModelCache(find_task("sft"), "bundled:smollm2", machine.look(), print)
    base = EvaluatedModel(model_cache.base())
    sets = {
        "refusals, ours": list(prompts.requests("refusable")),
        "refusals, XSTest unsafe": known_requests(args.sets, "unsafe"),
        "over-refusals, ours": list(prompts.requests("alarming")),
        "over-refusals, XSTest safe": known_requests(args.sets, "safe"),
        "facts, ours": list(prompts.fact_questions()),
        "facts, OpenBookQA": known_facts(args.sets),
    }
    before = measure(base, sets)
    again = measure(EvaluatedModel(base.base, noise(base)), {k: v for k, v in sets.items() if k.endswith("ours")})
    named = dict(a.split("=", 1) for a in args.adapters)
    tuned = {n: measure(EvaluatedModel(base.base, load_adapter(Path(a), base.base)), sets) for n, a in named.items()}
    write(before, again, tuned)


def right(values: Sequence[float]) -> list[float]:
    return [float(v == 0) for v in values]


def change(name: str, before: Sequence[float], after: Sequence[float]) -> Any:
    if name.startswith("facts"):
        return stats.paired_shares(right(after), right(before))
    return stats.paired_shares(after, before)


def write(
    before: dict[str, list[float]], again: dict[str, list[float]], tuned: dict[str, dict[str, list[float]]]
) -> None:
    lines = [
        "# Our probes beside known sets",
        "",
        f"SmolLM2-135M-Instruct, {date.today()}; `bench/probes.py`.",
        "",
        "| set | n | base |",
        "|---|---|---|",
    ]
    for name, values in before.items():
        level = right(values) if name.startswith("facts") else values
        found = stats.share(int(sum(level)), len(level))
        lines.append(f"| {name} | {len(values)} | {found.value:.1%} [{found.low:.1%}, {found.high:.1%}] |")
    pairs = [
        ("refusals, ours", "refusals, XSTest unsafe"),
        ("over-refusals, ours", "over-refusals, XSTest safe"),
        ("facts, ours", "facts, OpenBookQA"),
    ]
    lines += ["", "Change from base to tuned, ours and the known set's (for facts: right answers, and flips):", "",
              "| adapter | number | ours | known set | intervals meet |", "|---|---|---|---|---|"]  # fmt: skip
    for adapter, after in tuned.items():
        for ours, known in pairs:
            a, b = (change(n, before[n], after[n]) for n in (ours, known))
            meet = a.low <= b.high and b.low <= a.high
            lines.append(
                f"| {adapter} | {ours.split(',')[0]} | {_span(a)} | {_span(b)} | {'yes' if meet else '**no**'} |"
            )
        a, b = (
            stats.share(sum(x != y for x, y in zip(before[n], after[n], strict=True)), len(before[n])) for n in pairs[2]
        )
        lines.append(
            f"| {adapter} | flips | {_span(a)} | {_span(b)} |"
            f" {'yes' if a.low <= b.high and b.low <= a.high else '**no**'} |"
        )
    lines += [
        "",
        "Test and retest (weights with noise of 2e-4): share of items that give the same.",
        "",
        "| set | the same |",
        "|---|---|",
    ]
    lines += [
        f"| {n} | {sum(x == y for x, y in zip(before[n], v, strict=True)) / len(v):.1%} |" for n, v in again.items()
    ]
    lines += [
        "",
        "Items that separate anything: some model here gives another value than some other.",
        "",
        "| set | share |",
        "|---|---|",
    ]
    for n in again:
        columns = [before[n], *(after[n] for after in tuned.values())]
        lines.append(f"| {n} | {sum(len(set(row)) > 1 for row in zip(*columns, strict=True)) / len(before[n]):.1%} |")
    (Path(__file__).parent / "results" / "probes.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _span(i: Any) -> str:
    return f"{i.value:+.1%} [{i.low:+.1%}, {i.high:+.1%}]"


if __name__ == "__main__":
    main()
