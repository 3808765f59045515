"""Forecasts beside public memory readings, with the library versions that the readings ran on. Nothing is fitted to
them.

    .venv/bin/python bench/forecast.py --readings ../shared/data/measured_memory.csv [--out bench/results/forecast.md]

Readings of fms-acceleration (A100-80GB, transformers 4.45.2 / 4.48.1) are compared; those of litgpt and torchtune
ran other model code than transformers', and rows that do not say their settings cannot be rebuilt: both are counted
and named.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from trimtab.datasets.assets import cache_folder
from trimtab.forecasting import closed_form, sharding
from trimtab.planning.catalogue import KnownModel, find_model
from trimtab.spec.workload import Workload

GIB = 2**30
CUBLAS = 2 * (8 * 2**20 + 2**17)  # A100: PyTorch's default workspaces
LIBRARIES = {"4.48.1": "tokenizers==0.21.4", "4.45.2": "tokenizers==0.20.3"}
ALIAS = {"TechxGenus/Meta-Llama-3-8B-GPTQ": "meta-llama/Meta-Llama-3-8B"}
Row = dict[str, str]


def workload(row: Row) -> tuple[Workload, bool]:
    """The reading's settings, and whether fms-acceleration's own kernels (loss, norms) were at work."""
    method = "full" if row["method"] == "full" else "qlora" if row["method"].startswith("qlora") else "lora"
    kit = re.search(r"framework_config=([^;]+)", row["notes"])
    name = kit[1] if kit else "none"
    sharded, devices = row["sharding"] != "none", int(row["num_gpus"])
    return (
        Workload.model_validate(
            {
                "model": row["model"],
                "task": "sft",
                "method": method,
                "r": 16,
                "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
                "dtype": "float16" if row["dtype"].startswith("float16") else "bfloat16",
                "autocast": (
                    "bf16" if "autocast" in row["dtype"] else "fp16" if row["dtype"].startswith("float16") else "no"
                ),
                "per_device_train_batch_size": int(row["micro_batch"]),
                "per_device_eval_batch_size": 1,
                "max_length": int(row["seq_len"]),
                "optim": "adamw_torch",
                "gradient_checkpointing": row["grad_ckpt"] == "True",
                "attn_implementation": "flash_attention_2",
                "prepare_model_for_kbit_training": name == "baseline-peft-bnb" and not sharded,
                "use_liger_kernel": row["liger/fused_ce"] == "fused_linear_ce",
                "devices": devices,
                "sharding": "fsdp" if sharded else "none",
            }
        ),
        "foak" in name and row["liger/fused_ce"] != "fused_linear_ce",
    )


def libraries(version: str) -> Path:
    """A folder with that transformers and its companions; made once."""
    folder = cache_folder() / "bench" / f"transformers-{version}"
    if not folder.exists():
        packages = [
            f"transformers=={version}",
            "peft==0.13.2",
            LIBRARIES[version],
            "huggingface_hub==0.36.0",
            "accelerate==1.2.1",
        ]
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), *packages], check=True
        )
    return folder


class Tracer:
    """A process that traces under one version of transformers."""

    def __init__(self, version: str):
        path = os.pathsep.join([str(libraries(version)), str(Path(__file__).parent.parent / "src")])
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "legacy.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        self.known: dict[str, dict[str, Any]] = {}

    def ask(self, w: Workload, model: KnownModel, fast: bool) -> dict[str, Any]:
        alone = w.but(devices=1, sharding="none", model="m")
        question = json.dumps(
            {"workload": alone.model_dump(mode="json"), "config": model.config | {"use_cache": False}, "fast": fast}
        )
        if question not in self.known:
            assert self.process.stdin
            assert self.process.stdout
            self.process.stdin.write(question + "\n")
            self.process.stdin.flush()
            self.known[question] = json.loads(self.process.stdout.readline())
        return self.known[question]


def allocated(t: dict[str, Any], w: Workload) -> float:
    """GiB on one device, as the forecast reckons it."""
    phases = {p: v for p, v in t["phases"].items() if not p.startswith("evaluation")}
    size = sharding.Size(t["layers"], t["parameters"], t["trainable"], t["root"])
    shares = [sum(sharding.shard(terms, w, size, phase).values()) for phase, terms in phases.items()]
    return (max(shares) + CUBLAS) / GIB


def rules(w: Workload, model: KnownModel) -> dict[str, float]:
    """What others would say, GiB: the articles' rule; accelerate's 4x parameters; DeepSpeed's ZeRO-2/3; our closed
    form."""
    n, gb = model.parameters, 1e9
    weights = n * (0.5 if w.quantised else 2)
    found = {
        "articles' rule": (weights + 1 * gb + 0.5 * gb + 2.5 * gb * w.max_length * w.per_device_train_batch_size / 1000)
        / GIB,
        "accelerate": 4 * 2 * n / GIB,
    }
    if w.devices == 1:
        found["DeepSpeed ZeRO-2"] = 20 * n / GIB  # estimate_zero2: 2N + 18N/W, on one device 20N
    else:
        found["DeepSpeed ZeRO-2"] = (2 * n + 18 * n / w.devices) / GIB
    found["DeepSpeed ZeRO-3"] = (n / (model.layers or 1) * 4 + 18 * n / w.devices) / GIB
    shape = closed_form.shape_of(model)
    terms = closed_form.closed_form(shape, w)
    trained = closed_form.adapter_parameters(shape, w) if w.trains_adapter else n
    size = sharding.Size(shape.layers, n, trained, closed_form.root_parameters(shape))
    found["closed form"] = (sum(sharding.shard(terms, w, size).values()) + CUBLAS) / GIB
    return found


def compare(rows: list[Row]) -> tuple[list[dict[str, Any]], dict[str, int]]:
    tracers: dict[str, Tracer] = {}
    done, left = [], defaultdict[str, int](int)
    for row in rows:
        version = re.search(r"tf(\d+\.\d+\.\d+)", row["notes"])
        model = find_model(ALIAS.get(row["model"], row["model"]))
        if row["source"] != "fms-acceleration" or version is None:
            left[row["source"] + ": other model code, or settings not said"] += 1
            continue
        if model is None or version[1] not in LIBRARIES:
            left[f"{row['model']}: not in the catalogue"] += 1
            continue
        w, fast = workload(row)
        if version[1] not in tracers:
            tracers[version[1]] = Tracer(version[1])
        found = tracers[version[1]].ask(w, model, fast)
        if "error" in found:
            left[f"{row['model']} {row['method']}: {found['error'][:120]}"] += 1
            continue
        real, said = float(row["peak_memory_gib"]), allocated(found, w)
        used = float(row["reserved_or_nvml_gib"]) if row["reserved_or_nvml_gib"] else None
        replayed = (found["reserved"][0] + CUBLAS) / GIB + 0.5 if w.devices == 1 else None
        done.append({
            "row": row, "kind": _kind(row, fast), "real": real, "said": said, "error": said / real - 1,
            "others": {k: v / real - 1 for k, v in rules(w, model).items()},
            "used": used, "replayed": replayed, "version": version[1],
        })  # fmt: skip
    return done, left


def _kind(row: Row, fast: bool) -> str:
    method = row["method"].split("-")[0].split(" ")[0] + (" gptq" if "gptq" in row["method"] else "")
    kernels = (
        "Liger loss, Triton kernels"
        if row["liger/fused_ce"] == "fused_linear_ce"
        else "Triton kernels"
        if fast
        else "plain"
    )
    return (
        f"{row['model'].split('/')[-1]} | {method} | {kernels} | {row['num_gpus']}"
        f" {'FSDP' if row['sharding'] != 'none' else ''}"
    )


def _spread(errors: list[float]) -> str:
    if not errors:
        return "– | – | – | –"
    size = sorted(abs(e) for e in errors)
    p95 = size[min(len(size) - 1, int(0.95 * len(size)))]
    worst = max(errors, key=abs)
    return f"{statistics.median(size):.2%} | {p95:.1%} | {worst:+.1%} | {min(errors):+.1%}"


def report(done: list[dict[str, Any]], left: dict[str, int], seconds: float) -> str:
    lines = [f"# Forecast against public readings ({len(done)} rows, traced in {seconds:.0f} s)", ""]
    lines += [
        "Allocated memory. Errors: median and 95th percentile of their size, the worst, the lowest (under-prediction).",
        "",
    ]
    lines += [
        "| model | method | kernels | devices | rows | median | p95 | worst | lowest |",
        "|---|---|---|---|---:|---:|---:|---:|---:|",
    ]
    groups: dict[str, list[float]] = defaultdict(list)
    for d in done:
        groups[d["kind"]].append(d["error"])
    lines += [f"| {kind} | {len(e)} | {_spread(e)} |" for kind, e in sorted(groups.items())]
    plain = [d["error"] for d in done if "plain" in d["kind"] and d["row"]["num_gpus"] == "1"]
    sets = {
        "**plain transformers, one device: versions matched**": plain,
        "one device, all kernels": [d["error"] for d in done if d["row"]["num_gpus"] == "1"],
        "several devices (closed form over the trace)": [d["error"] for d in done if d["row"]["num_gpus"] != "1"],
        "**all compared rows**": [d["error"] for d in done],
    }
    lines += ["", "| rows of | n | median | p95 | worst | lowest |", "|---|---:|---:|---:|---:|---:|"]
    lines += [f"| {name} | {len(e)} | {_spread(e)} |" for name, e in sets.items() if e]
    lines += [
        "",
        "The same rows by other means:",
        "",
        "| estimator | n | median | p95 | worst | lowest |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines.append(f"| trimtab, traced | {len(done)} | {_spread([d['error'] for d in done])} |")
    for name in done[0]["others"] if done else ():
        lines.append(f"| {name} | {len(done)} | {_spread([d['others'][name] for d in done])} |")
    reserved = [d["replayed"] / d["used"] - 1 for d in done if d["replayed"] and d["used"]]
    if reserved:
        lines += ["", f"Replayed reserved memory + 0.5 GiB context against NVML, one device: {len(reserved)} rows, "
                  f"median | p95 | worst | lowest = {_spread(reserved)}."]  # fmt: skip
    lines += ["", "Not compared:", "", *(f"- {n} rows: {why}" for why, n in left.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="", help="rows whose model contains this")
    given = parser.parse_args()
    with given.readings.open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if given.only in r["model"]]
    began = time.monotonic()
    text = report(*compare(rows), time.monotonic() - began)
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
