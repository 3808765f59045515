"""On a card: predict first, write it down, then measure. Random weights, so no hub is needed.

    .venv/bin/python bench/forecast_gpu.py [--out bench/results/forecast-gpu.json] [--only qwen] [--boundary]

For each configuration the forecast is made and written before its step runs; then three steps of the same code are
timed and torch.cuda.max_memory_allocated / max_memory_reserved read. `--boundary` emulates cards of 8 to 48 GB near
the forecast's edge with set_per_process_memory_fraction: a "fits" that runs out of memory is a false one.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trimtab.forecasting.forecast import forecast
from trimtab.forecasting.result import Fit, judge
from trimtab.forecasting.source import locate
from trimtab.planning.catalogue import Device
from trimtab.spec.workload import Workload

GIB = 2**30
SMALL = (
    "HuggingFaceTB/SmolLM2-135M",
    "Qwen/Qwen2.5-0.5B",
    "google/gemma-3-270m",
    "Qwen/Qwen3-0.6B",
    "meta-llama/Llama-3.2-1B",
)
LARGE = ("microsoft/Phi-3-mini-4k-instruct", "mistralai/Mistral-7B-v0.1", "meta-llama/Llama-3.1-8B")


def configurations() -> Iterator[Workload]:
    """At least 60: families, sizes 0.1 to 8 B, methods, checkpointing, attention, head and loss, lengths 512 to 32K."""
    for model in SMALL:
        for method in ("lora", "full"):
            for recompute in (True, False):
                yield _workload(
                    model,
                    method=method,
                    gradient_checkpointing=recompute,
                    max_length=1024,
                    per_device_train_batch_size=4,
                )
        yield _workload(model, attn_implementation="eager", max_length=512, per_device_train_batch_size=4)
        yield _workload(model, linear_cross_entropy=True, max_length=8192)
        yield _workload(model, method="full", optim="adamw_torch", max_length=2048)
        yield _workload(model, max_length=32768 if "Qwen" in model else 8192)
        yield _workload(model, padded=True, max_length=1024, per_device_train_batch_size=4)
    for model in LARGE:
        for length in (512, 2048, 4096):
            yield _workload(model, max_length=length)
        yield _workload(model, max_length=1024, gradient_checkpointing=False)
        yield _workload(model, max_length=4096, linear_cross_entropy=True)
        yield _workload(model, max_length=1024, r=64, per_device_train_batch_size=4)
        yield _workload(model, max_length=512, autocast="no")


def _workload(model: str, **more: Any) -> Workload:
    return Workload.model_validate({"model": model, "task": "sft", **more})


def measure(w: Workload) -> dict[str, Any]:
    """Three steps of the very code that was traced. In a process of its own: a clean context each."""
    import torch
    from transformers import AutoConfig

    from trimtab.forecasting import skeleton, step
    from trimtab.forecasting.measure import peak_of
    from trimtab.forecasting.meter import Meter

    torch.set_default_device(w.device)
    config = locate(w.model).config
    values = {k: v for k, v in config.items() if k not in ("model_type", "torch_dtype", "architectures")}
    with torch.device("meta"):
        model = skeleton.bare(AutoConfig.for_model(config["model_type"], **values), w, "sft")
    skeleton.materialise(model)
    for p in model.parameters():
        torch.nn.init.normal_(p.data, std=0.02)
    for b in model.buffers():
        b.data.fill_(1e-3)
    job = step.TrainerStep(model, w, Meter())
    job.autocast = lambda: torch.autocast(w.device, dtype=step.AUTOCAST.get(w.autocast), enabled=w.autocast != "no")  # type: ignore

    def once() -> None:
        job.forward_backward()
        torch.nn.utils.clip_grad_norm_(job.trained, 1.0)
        job.optimizer.step()
        job.clear()
        if w.device == "cuda":
            torch.cuda.synchronize()

    once()
    moments = [v for s in job.optimizer.state.values() for v in s.values() if v.dim()]
    took = peak_of(once, [*model.parameters(), *model.buffers(), *moments], w.device)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        once()
        seconds.append(time.perf_counter() - began)
    found: dict[str, Any] = {
        "allocated": took.allocated,
        "reserved": took.reserved,
        "seconds": statistics.median(seconds),
    }
    if w.device == "cuda":
        free, total = torch.cuda.mem_get_info()
        found["context"] = total - free - torch.cuda.memory_reserved()
    return found


def alone(w: Workload, limit: float | None = None) -> dict[str, Any]:
    """`measure` in a fresh process, with at most `limit` bytes of the card."""
    code = [sys.executable, __file__, "--one", w.model_dump_json(), *(["--limit", str(limit)] if limit else [])]
    done = subprocess.run(code, capture_output=True, text=True)
    if done.returncode:
        return {
            "error": "out of memory" if "OutOfMemory" in done.stderr else done.stderr.strip().splitlines()[-1][:200]
        }
    return dict(json.loads(done.stdout.splitlines()[-1]))


def boundary(w: Workload, found: dict[str, Any], gigabytes: int) -> dict[str, Any] | None:
    """Whether "fits" holds on an emulated card; None where the forecast is nowhere near its edge."""
    capacity = gigabytes * GIB
    memory = forecast(w).memory
    if not 0.7 <= memory.used / capacity <= 1.2:
        return None
    verdict = judge(memory, capacity)
    took = alone(w, capacity - memory.context)
    ran = "error" not in took
    return {"card": gigabytes, "verdict": verdict, "ran": ran, "false_fit": verdict == Fit.FITS and not ran, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "forecast-gpu.json")
    parser.add_argument("--only", default="")
    parser.add_argument("--boundary", action="store_true")
    parser.add_argument("--one")
    parser.add_argument("--limit", type=float)
    given = parser.parse_args()
    import torch

    if not torch.cuda.is_available() and not (given.one and '"device":"cpu"' in given.one):
        sys.exit("no card here: this bench has not run")
    if given.one:
        if given.limit:
            torch.cuda.set_per_process_memory_fraction(given.limit / torch.cuda.get_device_properties(0).total_memory)
        print(json.dumps(measure(Workload.model_validate_json(given.one))))
        return
    name = torch.cuda.get_device_name()
    card = Device(name, torch.cuda.get_device_properties(0).total_memory)
    rows: list[dict[str, Any]] = []
    head = {"device": name, "date": datetime.now(UTC).date().isoformat(), "torch": torch.__version__}
    for w in (w for w in configurations() if given.only.lower() in w.model.lower()):
        f = forecast(w, card)
        rows.append(
            {
                "workload": w.model_dump(mode="json", exclude_defaults=True),
                "versions": f.versions,
                "predicted": {"allocated": f.memory.allocated, "reserved": f.memory.reserved, "how": f.how},
            }
        )
        given.out.write_text(
            json.dumps({**head, "rows": rows}, indent=1)
        )  # the prediction stands before the measurement
        gc.collect()
        rows[-1]["measured"] = alone(w)
        if given.boundary:
            tried = (boundary(w, {}, size) for size in (8, 12, 16, 24, 32, 48))
            rows[-1]["boundary"] = [b for b in tried if b]
        given.out.write_text(json.dumps({**head, "rows": rows}, indent=1))
        print(json.dumps(rows[-1]))
    errors = [
        r["predicted"]["allocated"] / r["measured"]["allocated"] - 1 for r in rows if "allocated" in r["measured"]
    ]
    print(
        f"{len(errors)} measured; allocated: median {statistics.median(map(abs, errors)):.2%}, worst"
        f" {max(errors, key=abs):+.2%}"
    )


if __name__ == "__main__":
    main()
