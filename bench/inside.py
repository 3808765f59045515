"""What brings a run inside its budget, and at what price: the ladder on runs that are outside, each remedy alone, and
what people do today.

    python bench/inside.py [--task commands|docstrings|commands-zh] [--only walk|alone|today] [--seeds 1,2,3]
                           [--probes FOLDER] [--chat FILE] [--until MINUTES] [--out FOLDER]
    python bench/inside.py --table

Every case trains one recipe (the demo's: rank 16, all linear layers) with one seed, which is outside `standard`.
walk    `trimtab inside`: which share of which remedy, its gain, each hard limit by the card and by the other half
alone   each remedy at its full strength, with a card
today   what people do: a lower rate by hand, the adapter merged at half its weight, a quarter of generic chat data
        mixed in (--chat: a JSON list of {instruction, input, output}). Early stopping is what every run does already:
        the best evaluation by validation loss is handed over.
`--probes` names a folder with sets that trimtab does not ship (xstest_prompts.csv, openbookqa_499.jsonl): whether they
move the same way is measured on the run and on what is recommended. Cases are kept in results/inside/ as they are
measured; the table goes to results/inside.md, the picture to docs/inside.png.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import calibration
import trimtab
from trimtab.analysis import stats
from trimtab.planning.remedies import ladder
from trimtab.reporting import standalone
from trimtab.reporting.ladder_parts import trade
from trimtab.run import machine
from trimtab.spec.recipe import Recipe
from trimtab.store.folder import opened
from trimtab.tuning.ladder import places_of_run, rows_of

RESULTS = Path(__file__).parent / "results" / "inside"
SETTINGS: dict[str, Any] = {
    "learning_rate": 5e-4, "num_train_epochs": 1, "r": 16, "lora_alpha": 32, "max_length": 128,
    "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2,
}  # fmt: skip
TASKS = {"commands": "bundled:home-commands", "commands-zh": "bundled:home-commands-zh", "docstrings": ""}
EPOCHS = {"commands-zh": 4}  # after one it has learned next to nothing: +1.7 points [-4.5, 8.9], one seed
METRIC = {"commands": "exact_match", "commands-zh": "exact_match", "docstrings": "overlap"}
MEANS = {"exact_match": "gains in exact match", "overlap": "gains in overlap with the reference (F1)"}
MIXED = 0.25  # of the rows are generic chat
BUDGET = "standard"


def recipe_of(task: str, seed: int, out: Path) -> Recipe:
    data = TASKS[task] or str(calibration.docstrings(out))
    settings = SETTINGS | {"num_train_epochs": EPOCHS.get(task, 1)}
    return Recipe(model="bundled:smollm2", data=data, seed=seed, **settings)


def walk(task: str, seed: int, out: Path, probes: Path | None) -> dict[str, Any]:
    run = trimtab.train(recipe_of(task, seed, out), out=out)
    result = trimtab.inside(run.id, budget=BUDGET, out=out)
    named = {"as it is": run.id, "recommended": (result["recommended"] or {}).get("run")}
    moved = {k: independent(r, out, probes) for k, r in named.items() if probes and r}
    rows = [{k: v for k, v in r.items() if k != "recipe"} for r in rows_of(result)]
    best = result["recommended"] and result["recommended"]["run"]
    return {"rows": rows, "recommended": best, "sentence": result["sentence"], "independent": moved}


def independent(run: str, out: Path, probes: Path) -> dict[str, list[float]]:
    """[base, tuned] of the sets that trimtab does not ship."""
    return calibration.independent(out / "runs" / run / "best", probes)


def alone(task: str, seed: int, out: Path) -> Iterator[tuple[str, Recipe]]:
    """Every remedy of the ladder at its full strength."""
    recipe = recipe_of(task, seed, out)
    run = trimtab.train(recipe, out=out)
    with opened(out) as store:
        rungs = ladder(run.recipe, places_of_run(store, run.id))
    yield from ((m.what, m.recipe) for rung in rungs if rung.trained for m in rung.remedies)


def today(task: str, seed: int, out: Path, chat: Path | None) -> Iterator[tuple[str, Recipe]]:
    recipe = recipe_of(task, seed, out)
    yield "as it is: early stopping by validation loss", recipe
    yield "a tenth of the rate", recipe.but(learning_rate=recipe.learning_rate / 10)
    yield "merged at weight 0.5", recipe.but(adapter_scale=0.5)
    if chat:
        yield "a quarter of generic chat data mixed in", recipe.but(data=str(mixed(recipe.data, chat, out)))


def mixed(data: str, chat: Path, out: Path) -> Path:
    """The task's own rows with as many of generic chat as make a quarter; test and validation stay the task's."""
    from trimtab.run.material import load_material

    examples = load_material("bundled:smollm2", data, lambda _: None).dataset.examples
    rows = {k: [{"messages": list(e.messages)} for e in v] for k, v in examples.items()}
    other = [r for r in json.loads(chat.read_text(encoding="utf-8")) if len(r["output"]) < 400]
    random.Random(0).shuffle(other)
    for r in other[: round(len(rows["train"]) * MIXED / (1 - MIXED))]:
        asked = f"{r['instruction']}\n{r.get('input') or ''}".strip()
        said = {"role": "assistant", "content": r["output"]}
        rows["train"].append({"messages": [{"role": "user", "content": asked}, said]})
    folder = out / "mixed"
    folder.mkdir(parents=True, exist_ok=True)
    for split, some in rows.items():
        text = "".join(json.dumps(r) + "\n" for r in some)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return folder


def judged(what: str, task: str, recipe: Recipe, out: Path) -> dict[str, Any]:
    """A row as the walk's: its gain at the task and its limits, by the card."""
    began = time.monotonic()
    run = trimtab.train(recipe, out=out)
    trained = time.monotonic() - began
    card = trimtab.card(run.id, budget=BUDGET, out=out)
    with opened(out) as store:
        stored = store.card(run.id)
    assert stored
    raw = stored["measured"]["raw"]
    key = METRIC[task]
    gain = stats.paired_shares(raw[key], raw[f"base_{key}"])
    rows = [r for r in card["rows"] if r["verdict"]]
    return {
        "what": what, "run": run.id, "gain": gain and vars(gain), "metric": key, "trained_seconds": trained,
        "inside": all(r["verdict"] == "PASS" for r in rows if r["hard"]),
        "numbers": {r["number"]: {k: r[k] for k in ("value", "below", "above", "verdict", "hard")} for r in rows},
    }  # fmt: skip


def measure(task: str, kind: str, seed: int, args: argparse.Namespace) -> None:
    """One case, unless it was measured before; several rows are kept as they come."""
    path = RESULTS / f"{task}-{kind}-{seed}.json"
    known = json.loads(path.read_text()) if path.exists() else {"rows": []}
    if known.get("whole"):
        return
    began, here = time.monotonic(), machine.look()
    about = {"date": str(date.today()), "machine": f"{here.name}, {here.threads} threads, {len(known['rows'])} before"}
    if kind == "walk":
        known = walk(task, seed, args.out, args.probes)
    else:
        cases = alone(task, seed, args.out) if kind == "alone" else today(task, seed, args.out, args.chat)
        for what, recipe in cases:
            if what not in {r["what"] for r in known["rows"]}:
                known["rows"].append(judged(what, task, recipe, args.out))
                _keep(path, {**known, **about})
                print(f"{task} {seed} {what}: {_gain(known['rows'][-1])}", flush=True)
    _keep(path, {**known, **about, "seconds": round(time.monotonic() - began), "whole": True})
    print(f"{task} {kind} {seed}: {time.monotonic() - began:.0f} s {known.get('sentence', '')}", flush=True)


def _keep(path: Path, case: dict[str, Any]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(case) + "\n")


# the table


def table() -> str:
    """Every case that was measured, task by task."""
    parts = [
        "# Staying inside the budget",
        "",
        f"SmolLM2-135M, budget {BUDGET}; `bench/inside.py`. Bold: recommended.",
        "",
    ]
    heads = {"walk": "The ladder", "alone": "Each remedy alone, at its full strength", "today": "What people do today"}
    for task in TASKS:
        for kind, head in heads.items():
            cases = {
                int(p.stem.rsplit("-", 1)[1]): json.loads(p.read_text()) for p in RESULTS.glob(f"{task}-{kind}-?.json")
            }
            if cases:
                parts += [f"## {task}: {head} ({MEANS[METRIC[task]]})", "", *_lines(dict(sorted(cases.items()))), ""]
    return "\n".join(parts)


def picture(task: str, number: str = "kl_generic") -> str:
    """Gain against drift of every run that a card has judged on the walks of this task; empty with fewer than two."""
    rows = []
    for path in sorted(RESULTS.glob(f"{task}-walk-?.json")):
        case, seed = json.loads(path.read_text()), path.stem.rsplit("-", 1)[1]
        best = case.get("recommended")
        rows += [{**r, "what": f"{r['what']}, seed {seed}", "inside": r["run"] == best} for r in case["rows"]]
    rows = [r for r in rows if "limit" in (r["numbers"].get(number) or {})]
    return trade(rows, number, "Exact match", None)


def _lines(cases: dict[int, dict[str, Any]]) -> list[str]:
    lines = [
        "| seed | remedy | gain, points [95 %] | training, s | hard limits, by the card | the other half |",
        "|---|---|---|---|---|---|",
    ]
    for seed, case in cases.items():
        for r in case["rows"]:
            bold = "**" if r["run"] and r["run"] == case.get("recommended") else ""
            cells = [str(seed), f"{bold}{r['what']}{bold}", _gain(r), _seconds(r), _limits(r), _side(r)]
            lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for seed, case in cases.items():
        seconds = f", {case['seconds']} s" if "seconds" in case else ""
        lines.append(f"Seed {seed}: {case['date']}, {case['machine']}{seconds}.{_moved(case)}  ")
    return lines


def _seconds(r: dict[str, Any]) -> str:
    took = r.get("seconds", r.get("trained_seconds"))
    return "" if took is None else f"{took:.0f}"


def _moved(case: dict[str, Any]) -> str:
    told = []
    for who, sets in (case.get("independent") or {}).items():
        told.append(who + " " + ", ".join(f"{k} {tuned - base:+.3g}" for k, (base, tuned) in sets.items()))
    return f" Sets that are not trimtab's, against the base: {'; '.join(told)}." if told else ""


def _gain(r: dict[str, Any]) -> str:
    g = r["gain"]
    return f"{100 * g['value']:+.1f} [{100 * g['low']:+.1f}, {100 * g['high']:+.1f}]" if g else "–"


def _limits(r: dict[str, Any]) -> str:
    hard = {k: n for k, n in r["numbers"].items() if n["hard"]}
    if not hard:
        return "not asked" if r["run"] else "no share well inside"
    return ", ".join(f"{k} {_value(n)}{n['verdict']}" for k, n in hard.items())


def _value(n: dict[str, Any]) -> str:
    return "" if n["value"] is None else f"{n['value']:.3g} [{n['below']:.3g}, {n['above']:.3g}] "


def _side(r: dict[str, Any]) -> str:
    shown = ("kl_generic", "refusal", "refusal_margin")
    return ", ".join(f"{k} {v:.3g}" for k, v in r.get("side", {}).items() if k in shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="commands")
    parser.add_argument("--only", choices=("walk", "alone", "today"))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--probes", type=Path)
    parser.add_argument("--chat", type=Path)
    parser.add_argument("--until", type=float, default=1e9, help="minutes after which no further case is begun")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("bench-out/inside"))
    args = parser.parse_args()
    began = time.monotonic()
    for seed in [] if args.table else map(int, args.seeds.split(",")):
        for kind in (args.only,) if args.only else ("walk", "alone", "today"):
            if time.monotonic() - began < 60 * args.until:
                measure(args.task, kind, seed, args)
    (RESULTS.parent / "inside.md").write_text(table())
    if drawn := picture(args.task):
        (RESULTS.parents[2] / "docs" / "inside.png").write_bytes(standalone.png(drawn))


if __name__ == "__main__":
    main()
