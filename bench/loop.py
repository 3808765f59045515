"""Speed of the loop, side by side on this machine. Prints tables, and keeps them in bench/results/.

    python bench/loop.py [--quick] [--only trainer|cohort|precision|overhead]

Same model, same examples in the same batches, same precision on both sides, interleaved repeats, medians and ratios.
transformers.Trainer is met in float32 and, where the processor computes it quickly, in bfloat16 (elsewhere a checkpoint
that is loaded in its own bfloat16 takes minutes a step: load it in float32). Of a step of each side: the share that is
the base's matrix products (torch.profiler, self time). `--quick` uses fewer repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from accelerate import Accelerator

from trimtab.behaviour.answering import EvaluatedModel
from trimtab.behaviour.drift import pulse, reference
from trimtab.datasets.prepare import load, tokenise_dataset
from trimtab.run import machine
from trimtab.run.cohort import Cohort
from trimtab.run.member import Member
from trimtab.spec.recipe import Recipe
from trimtab.store import Store
from trimtab.tasks import pretrained as models
from trimtab.tasks.language import LanguageBase

RANK = 8
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::mkldnn_linear", "mkldnn::_linear_pointwise")
MODEL, DATA = "bundled:smollm2", "bundled:home-commands"
RESULTS = Path(__file__).parent / "results"


def recipe(**more: Any) -> Recipe:
    return Recipe(
        model=MODEL,
        data=DATA,
        r=RANK,
        lora_alpha=16,
        learning_rate=1e-3,
        max_length=128,
        per_device_train_batch_size=8,
        **more,
    )


class Bench:
    def __init__(self, steps: int, repeats: int):
        self.here = machine.look()
        self.quick = torch.bfloat16 if self.here.bf16 else torch.float32
        torch.set_num_threads(self.here.threads)
        self.steps, self.repeats = steps, repeats
        self.tokenizer = models.load_tokenizer(MODEL)
        self.data = tokenise_dataset(load(DATA), self.tokenizer, 128)
        self.rows: list[dict[str, Any]] = []

    def base(self, dtype: torch.dtype) -> LanguageBase:
        return LanguageBase(models.load_model(MODEL, dtype, "cpu"), self.tokenizer, Accelerator(cpu=True))

    def compare(self, title: str, sides: dict[str, Callable[[], int]], goal: str, profiled: bool = False) -> None:
        """Each side does its work and gives the tokens (or members' tokens) it trained; sides take turns."""
        speeds: dict[str, list[float]] = {name: [] for name in sides}
        for work in sides.values():
            work()  # memory, kernels
        shares = {name: base_products(work) for name, work in sides.items()} if profiled else {}
        for _ in range(self.repeats):
            for name, work in sides.items():
                began = time.perf_counter()
                tokens = work()
                speeds[name].append(tokens / (time.perf_counter() - began))
        medians = {name: statistics.median(s) for name, s in speeds.items()}
        (first, a), (second, b) = list(medians.items())[:2]
        row = {
            "comparison": title,
            "ours": first,
            "other": second,
            "ours_tok_s": round(a, 1),
            "other_tok_s": round(b, 1),
            "ratio": round(a / b, 3),
            "goal": goal,
            "repeats": self.repeats,
        }
        self.rows.append(row)
        if shares:
            row["base_products"] = shares
            print(f"{title}: " + ", ".join(f"{k} {v:.0%} of a step is the base's products" for k, v in shares.items()))
        print(
            f"{title:<44} {first} {a:7.1f} tok/s   {second} {b:7.1f} tok/s   ratio {a / b:5.2f}   goal {goal}",
            flush=True,
        )


def base_products(work: Callable[[], int]) -> float:
    """The share of the time that is products none of whose sides is the adapter's rank."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profiler:
        work()
    events = profiler.key_averages(group_by_input_shape=True)
    whole = sum(e.self_cpu_time_total for e in events)
    base = [e for e in events if e.key in PRODUCTS and all(RANK not in shape for shape in e.input_shapes)]
    return round(sum(e.self_cpu_time_total for e in base) / whole, 3)


def steps_of(cohort: Cohort, n: int) -> int:
    """n optimizer steps of every member; tokens trained, padding not counted."""
    tokens = 0
    for _ in range(n):
        for member, (loss, seen) in zip(cohort.members, cohort.forward_backward(cohort.members), strict=True):
            member.accumulate(loss, seen)
            member.update()
            tokens += seen
        rewind(cohort.members)
    return tokens


def rewind(members: list[Member]) -> None:
    for m in members:
        m.state.step %= 4  # the same few batches again: every side trains exactly the same rows


def against_trainer(bench: Bench) -> None:
    for dtype in dict.fromkeys((bench.quick, torch.float32)):
        _against_trainer(bench, dtype)


def _against_trainer(bench: Bench, dtype: torch.dtype) -> None:
    """transformers.Trainer with PEFT: the same rows in the same order, padded to the longest of the batch."""
    from peft import LoraConfig, get_peft_model
    from transformers import Trainer, TrainingArguments

    r = recipe()
    cohort = Cohort(bench.base(dtype), [r], bench.data)
    member = cohort.members[0]
    order = [i for step in range(4) for i in member.plan.examples(step)] * (bench.steps // 4 + 1)
    train = bench.data.splits["train"]
    rows = [train[i] for i in order[: bench.steps * 8]]
    tokens = sum(len(t.ids) for t in rows)

    def collate(width: int | None) -> Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]:
        def inner(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
            batch = cohort.base.pad([train[i["row"]] for i in items], width)
            labels = torch.full_like(batch.ids, -100)
            labels.flatten()[batch.places + 1] = batch.targets
            return {"input_ids": batch.ids, "attention_mask": batch.mask, "labels": labels}

        return inner

    def trainer(width: int | None) -> Callable[[], int]:
        base = models.load_model(MODEL, dtype, "cpu")
        config = LoraConfig(r=RANK, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(base, config)

        def work() -> int:
            with tempfile.TemporaryDirectory() as scratch:
                arguments = TrainingArguments(
                    output_dir=scratch,
                    per_device_train_batch_size=8,
                    max_steps=bench.steps,
                    learning_rate=1e-3,
                    report_to=[],
                    save_strategy="no",
                    logging_strategy="no",
                    disable_tqdm=True,
                    use_cpu=True,
                    remove_unused_columns=False,
                    train_sampling_strategy="sequential",
                    dataloader_pin_memory=False,
                )
                dataset = [{"row": i} for i in order[: bench.steps * 8]]
                Trainer(model=model, args=arguments, train_dataset=dataset, data_collator=collate(width)).train()
            return tokens

        return work

    ours = lambda: steps_of(cohort, bench.steps)  # noqa: E731
    name = str(dtype).removeprefix("torch.")
    sides = {"trimtab": ours, "transformers.Trainer": trainer(None)}
    bench.compare(f"one run, the same padded batches, {name}", sides, ">= 1.0", profiled=True)
    if dtype == bench.quick:
        sides = {"trimtab": ours, "Trainer, padded to 128": trainer(128)}
        bench.compare("against padding to max length (128)", sides, ">= 2.0")


def cohorts(bench: Bench) -> None:
    four = [recipe(seed=i) for i in range(4)]
    base = bench.base(bench.quick)
    together = Cohort(base, four, bench.data, "fast")
    alone = [Cohort(base, [r], bench.data) for r in four]
    bench.compare("four runs: one cohort against one by one", {
        "cohort of 4": lambda: steps_of(together, bench.steps),
        "one by one": lambda: sum(steps_of(c, bench.steps) for c in alone),
    }, "report")  # fmt: skip


def precision(bench: Bench) -> None:
    if not bench.here.bf16:
        print("bfloat16 against float32: not run, this processor has no bfloat16 in hardware")
        return
    short, wide = (Cohort(bench.base(d), [recipe()], bench.data) for d in (torch.bfloat16, torch.float32))
    bench.compare("bfloat16 against float32", {"bfloat16": lambda: steps_of(short, bench.steps),
                                               "float32": lambda: steps_of(wide, bench.steps)}, "report")  # fmt: skip


def overhead(bench: Bench) -> None:
    """What pulses (four a run) and a stored row per step add to one epoch, as a share of its training time."""
    base = bench.base(bench.quick)
    cohort = Cohort(base, [recipe()], bench.data)
    ref = reference(EvaluatedModel(base), models.cache_folder() / "reference")
    steps_of(cohort, 2)
    epoch = cohort.members[0].plan.steps_per_epoch
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        train, looks, writes = [], [], []
        for i in range(bench.repeats):
            began = time.perf_counter()
            steps_of(cohort, bench.steps)
            train.append((time.perf_counter() - began) / bench.steps * epoch)
            began = time.perf_counter()
            pulse(EvaluatedModel(base, cohort.members[0].adapter), ref)
            looks.append(time.perf_counter() - began)
            began = time.perf_counter()
            for step in range(20):
                row = {
                    "run": str(i),
                    "step": step,
                    "loss": 1.0,
                    "learning_rate": 1.0,
                    "grad_norm": 1.0,
                    "tokens": 1,
                    "seconds": 1.0,
                }
                store.log_steps([row])
            writes.append((time.perf_counter() - began) / 20)
        store.close()
    one, look, write = (statistics.median(x) for x in (train, looks, writes))
    for epochs in (1, 2, 8):
        seconds, run = 4 * look + epochs * epoch * write, epochs * one
        title = f"four pulses and a row per step, {epochs} epoch{'s' if epochs > 1 else ''} ({run:.0f} s)"
        bench.rows.append(
            {"comparison": title, "seconds": round(seconds, 3), "share": round(seconds / run, 4), "goal": "<= 0.03"}
        )
        print(f"{title:<62} {seconds:6.2f} s   {seconds / run:6.2%}   goal <= 3 %", flush=True)


PARTS = {"trainer": against_trainer, "cohort": cohorts, "precision": precision, "overhead": overhead}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="two repeats of four steps")
    options.add_argument("--only", choices=PARTS, help="one part, kept in a file of its own")
    chosen = options.parse_args()
    quick = chosen.quick
    bench = Bench(steps=4 if quick else 8, repeats=2 if quick else 5)
    print(f"{bench.here.name}, {bench.here.threads} threads, bfloat16 {bench.here.bf16}, {machine.versions()}")
    for name in [chosen.only] if chosen.only else PARTS:
        PARTS[name](bench)
    RESULTS.mkdir(exist_ok=True)
    kept = {"date": date.today().isoformat(), "machine": bench.here.as_dict(), "platform": platform.machine(),
            "versions": machine.versions(), "rows": bench.rows}  # fmt: skip
    name = f"loop-{chosen.only}.json" if chosen.only else "loop.json"
    (RESULTS / name).write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(f"kept in {RESULTS / name}")


if __name__ == "__main__":
    main()
