"""What sharing brings: K runs in one pass against one after another, a kept prefix, a shared share_start, logits
only where there are labels.

    python bench/cohort.py [--quick] [--device cuda] [--model bundled:smollm2] [--only PART]

Same examples, interleaved repeats, medians of tokens a second and their ratios. With results/study_grid.json there,
also how well a screen ranks the grid's 27 recipes. results/cohort.md, cohort.json; on a card cohort-cuda.* with the
goal of 6x at K = 8, micro-batch 1 to 2.
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
from accelerate import Accelerator

from trimtab.datasets.prepare import load, tokenise_dataset
from trimtab.run import machine
from trimtab.run.cohort import Cohort
from trimtab.run.frozen_prefix import FrozenPrefix
from trimtab.run.shared_start import shared_steps
from trimtab.spec.recipe import Recipe
from trimtab.tasks import pretrained as models
from trimtab.tasks.language import LanguageBase

HERE = Path(__file__).parent / "results"
SIZES, MICRO = (1, 2, 4, 8), (1, 2, 4)


class Bench:
    def __init__(self, model: str, device: str, steps: int, repeats: int):
        self.here, self.model, self.device, self.steps, self.repeats = machine.look(), model, device, steps, repeats
        torch.set_num_threads(self.here.threads)
        self.tokenizer = models.load_tokenizer(model)
        self.data = tokenise_dataset(load("bundled:home-commands"), self.tokenizer, 128)
        dtype = torch.bfloat16 if self.here.bf16 else torch.float32
        self.base = LanguageBase(
            models.load_model(model, dtype, device), self.tokenizer, Accelerator(cpu=device == "cpu")
        )

    def recipes(self, k: int, micro: int) -> list[Recipe]:
        made = Recipe(
            model=self.model,
            data="bundled:home-commands",
            r=8,
            learning_rate=1e-3,
            max_length=128,
            per_device_train_batch_size=micro,
        )
        return [made.but(seed=s) for s in range(1, k + 1)]

    def steps_of(self, cohort: Cohort) -> int:
        """Some steps of every member at once; the tokens they trained."""
        tokens = 0
        for _ in range(self.steps):
            for member, (loss, n) in zip(cohort.members, cohort.forward_backward(cohort.members), strict=True):
                tokens += n
                if member.accumulate(loss, n):
                    member.update()
        if self.device != "cpu":
            torch.cuda.synchronize()
        return tokens

    def side_by_side(self, sides: dict[str, Callable[[], int]]) -> dict[str, float]:
        speeds: dict[str, list[float]] = {k: [] for k in sides}
        for work in sides.values():
            work()
        for _ in range(self.repeats):
            for name, work in sides.items():
                began = time.perf_counter()
                tokens = work()
                speeds[name].append(tokens / (time.perf_counter() - began))
        return {k: statistics.median(v) for k, v in speeds.items()}

    def cohorts(self, k: int, micro: int) -> dict[str, Any]:
        recipes = self.recipes(k, micro)
        whole, ones = Cohort(self.base, recipes, self.data), [Cohort(self.base, [r], self.data) for r in recipes]
        found = self.side_by_side(
            {"together": lambda: self.steps_of(whole), "one by one": lambda: sum(map(self.steps_of, ones))}
        )
        return {"k": k, "micro": micro, **found, "ratio": found["together"] / found["one by one"]}

    def prefix(self, upper: float) -> dict[str, Any]:
        recipes = self.recipes(4, 4)
        whole = Cohort(self.base, recipes, self.data)
        above = Cohort(self.base, recipes, self.data, kept=FrozenPrefix(self.base, upper))
        began = time.perf_counter()
        above.prefix.hidden(self.data.splits["train"], 128)  # type: ignore[union-attr]
        filling = time.perf_counter() - began
        found = self.side_by_side({"prefix": lambda: self.steps_of(above), "whole": lambda: self.steps_of(whole)})
        return {
            "upper": upper,
            **found,
            "ratio": found["prefix"] / found["whole"],
            "filling": filling,
            "mebibytes": above.prefix.bytes / 2**20,
        }  # type: ignore[union-attr]

    def label_logits(self) -> dict[str, float]:
        (recipe,) = self.recipes(1, 4)
        cohort, select = Cohort(self.base, [recipe], self.data), LanguageBase._select

        def everywhere() -> int:
            """The head at every position, as a model does by itself; the labels' rows are taken afterwards."""
            LanguageBase._select = lambda _self, _module, inputs: inputs  # type: ignore[method-assign,assignment]
            logits = LanguageBase.logits
            LanguageBase.logits = lambda self, batch, slices, **more: (
                self.forward(batch, slices, **more).logits.flatten(0, 1)[batch.places].float()
            )  # type: ignore[method-assign,assignment]
            hooks = _rehook(self.base)
            try:
                return self.steps_of(cohort)
            finally:
                LanguageBase._select, LanguageBase.logits = select, logits  # type: ignore[method-assign]
                hooks()

        found = self.side_by_side({"at labels": lambda: self.steps_of(cohort), "everywhere": everywhere})
        return {**found, "ratio": found["at labels"] / found["everywhere"]}


def _rehook(base: LanguageBase) -> Callable[[], None]:
    """The head's hook is bound when the base is made: taken off for a moment."""
    head = base.model.get_output_embeddings()
    kept = dict(head._forward_pre_hooks)
    head._forward_pre_hooks.clear()
    return lambda: head._forward_pre_hooks.update(kept)


def share_start() -> list[dict[str, Any]]:
    """Counted, not timed: a pass that is not made costs nothing."""
    rows = []
    for schedule in ("constant", "warmup_stable_decay", "cosine"):
        made = Recipe(model="m", data="d", lr_scheduler_type=schedule, warmup_steps=10, per_device_train_batch_size=8)
        runs = [made.but(num_train_epochs=e) for e in (1, 2, 4)]
        steps = [r.steps(2000) for r in runs]
        saved = sum(shared_steps(r, runs[-1], 2000) for r in runs[:-1])
        rows.append({"schedule": schedule, "steps": sum(steps), "saved": saved / sum(steps)})
    return rows


def ranking(bench: Bench) -> list[dict[str, Any]] | None:
    """Spearman's rank correlation of a screen's losses with the grid's final ones, and whether the best survives in
    the better half."""
    from scipy.stats import spearmanr

    from study_grid import HELD_OUT, data, recipe
    from trimtab.workers.proxy_screen import losses

    file = HERE / "study_grid.json"
    if not file.exists():
        return None
    kept = json.loads(file.read_text())
    ways = [r["way"] for r in kept["runs"] if r["seed"] == 1]
    final = [statistics.fmean(min(g["loss"] for g in r["rungs"]) for r in kept["runs"] if r["way"] == w) for w in ways]
    folder = data(Path("bench-out/study"))
    held = tokenise_dataset(load(str(folder)), bench.tokenizer, 128)
    assert len(held.splits["validation"]) == HELD_OUT
    rows = []
    for upper, share in ((0.25, 0.25), (0.5, 0.25), (0.25, 0.5)):
        began = time.perf_counter()
        found: list[float] = []
        for i in range(0, len(ways), 9):
            found += losses(bench.base, [recipe(folder, w, 1) for w in ways[i : i + 9]], held, upper, share)
        order = sorted(range(len(ways)), key=lambda i: found[i])
        best = min(range(len(ways)), key=lambda i: final[i])
        rows.append(
            {
                "upper": upper,
                "share": share,
                "rank": float(spearmanr(found, final).statistic),
                "best kept": order.index(best) < -(-len(ways) // 2),
                "seconds": time.perf_counter() - began,
            }
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", default="bundled:smollm2")
    parser.add_argument("--only", help="cohorts, prefix, logits or ranking: the others stay as they were measured")
    args = parser.parse_args()
    bench = Bench(args.model, args.device, 2 if args.quick else 4, 3 if args.quick else 5)
    found: dict[str, Any] = {
        "date": str(date.today()),
        "machine": bench.here.as_dict(),
        "model": args.model,
        "repeats": bench.repeats,
        "share_start": share_start(),
    }
    name = "cohort" if args.device == "cpu" else f"cohort-{args.device}"
    parts = {
        "cohorts": lambda: [_shown(bench.cohorts(k, micro)) for micro in MICRO for k in SIZES],
        "prefix": lambda: [bench.prefix(u) for u in (0.5, 0.25)],
        "logits": bench.label_logits,
        "ranking": lambda: ranking(bench),
    }
    if args.only:
        found = {**json.loads((HERE / f"{name}.json").read_text()), "share_start": found["share_start"]}
        parts = {args.only: parts[args.only]}
    for part, measure in parts.items():  # written part by part: a bench that is stopped keeps what it measured
        found[part] = measure()
        (HERE / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
        (HERE / f"{name}.md").write_text(page(found))
    print(page(found))


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    print(row, flush=True)
    return row


def page(f: dict[str, Any]) -> str:
    by = {(r["k"], r["micro"]): r for r in f["cohorts"]}
    lines = [
        "# What sharing brings",
        "",
        (
            f"{f['model']}, home commands, r 8, {f['machine']['name']}, {f['machine']['threads']} threads,"
            f" {f['machine']['device']}, {f['date']}; medians of {f['repeats']} interleaved repeats; `bench/cohort.py`."
        ),
        "",
        "## K runs in one pass, tokens a second against one after another",
        "",
        "| micro-batch | " + " | ".join(f"K = {k}" for k in SIZES) + " |",
        "|---|" + "---|" * len(SIZES),
    ]
    for micro in MICRO:
        lines.append(f"| {micro} | " + " | ".join(_ratio(by[k, micro]) for k in SIZES) + " |")
    if f.get("prefix"):
        lines += [
            "",
            "## Upper layers over a kept prefix, four runs in a pass",
            "",
            "| layers trained | tokens a second, kept prefix : whole model | ratio | filling it once | memory |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| upper {p['upper']:.0%} | {p['prefix']:.0f} : {p['whole']:.0f} | {p['ratio']:.2f}x | {p['filling']:.1f}"
            f" s | {p['mebibytes']:.0f} MiB |"
            for p in f["prefix"]
        ]
    else:
        lines += ["", "Upper layers over a kept prefix: not measured yet."]
    if f.get("ranking"):
        lines += [
            "",
            "As a screen of the grid's 27 recipes ([study.md](study.md)):",
            "",
            (
                "| layers | share of each run | rank correlation with the final loss | the best is in the better half |"
                " seconds |"
            ),
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| upper {r['upper']:.0%} | {r['share']:.0%} | {r['rank']:.2f} | {'yes' if r['best kept'] else '**no**'} |"
            f" {r['seconds']:.0f} |"
            for r in f["ranking"]
        ]
    if g := f.get("logits"):
        lines += [
            "",
            (
                f"Logits only where there are labels: {g['at labels']:.0f} against {g['everywhere']:.0f} tokens a"
                f" second, {g['ratio']:.2f}x."
            ),
        ]
    lines += [
        "",
        "One share_start for 1, 2 and 4 epochs: steps that are not taken, by schedule: "
        + ", ".join(f"{t['schedule']} {t['saved']:.0%}" for t in f["share_start"])
        + ".",
        "",
    ]
    return "\n".join(lines)


def _ratio(row: dict[str, Any]) -> str:
    return f"{row['ratio']:.2f}x ({row['together']:.0f} : {row['one by one']:.0f})"


if __name__ == "__main__":
    main()
