"""On a card: predict first, write it down, then measure. Random weights, so no hub is needed.

    python bench/forecast_gpu.py [--out bench/results/forecast-gpu.json] [--only qwen] [--edges] [--jobs 6]
    python bench/forecast_gpu.py --again        # today's forecasts beside what was measured then; needs no card

Every forecast is made and written before the first step runs; then three steps of the same code are timed and
torch.cuda.max_memory_allocated / max_memory_reserved read, each configuration in a process of its own. `--edges` then
takes two more steps on the smallest card of which the forecast says "fits" (set_per_process_memory_fraction, less the
context): one that runs out of memory is a false "fits". `--jobs` measures several side by side, as long as their
forecasts fit together: their memory is their own, their seconds are not. The table goes to forecast-gpu.md beside it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trimtab.forecasting.forecast import forecast
from trimtab.forecasting.result import MARGIN
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


def measure(w: Workload, edge: int | None) -> dict[str, Any]:
    """Three steps of the very code that was traced; then two more with at most `edge` bytes of the card, if given. In
    a process of its own: a clean context each."""
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

    if w.device == "cuda":
        torch.cuda.empty_cache()  # what drawing the weights left
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
    if edge:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(edge / torch.cuda.get_device_properties(0).total_memory)
        try:
            once()
            once()
            found["ran_at_edge"] = True
        except torch.cuda.OutOfMemoryError:
            found["ran_at_edge"] = False
    return found


def alone(w: Workload, edge: int | None = None) -> dict[str, Any]:
    """`measure` in a fresh process."""
    code = [sys.executable, __file__, "--one", w.model_dump_json(), *(["--edge", str(edge)] if edge else [])]
    done = subprocess.run(code, capture_output=True, text=True)
    if done.returncode:
        return {
            "error": "out of memory" if "OutOfMemory" in done.stderr else done.stderr.strip().splitlines()[-1][:200]
        }
    return dict(json.loads(done.stdout.splitlines()[-1]))


def predicted(w: Workload, card: Device) -> dict[str, Any]:
    """`edge`: the smallest card, in bytes, of which the forecast says "fits"."""
    f = forecast(w, card)
    m = f.memory
    said = {"allocated": m.allocated, "reserved": m.reserved, "edge": int(m.used * (1 + MARGIN)) + 1, "how": f.how}
    return {"workload": w.model_dump(mode="json", exclude_defaults=True), "versions": f.versions, "predicted": said}


class Room:
    """The card's bytes, lent to measurements that run side by side."""

    def __init__(self, size: float):
        self.whole, self.free, self.given_back = size, size, threading.Condition()

    @contextmanager
    def taken(self, size: float) -> Iterator[None]:
        size = min(size, self.whole)
        with self.given_back:
            self.given_back.wait_for(lambda: self.free >= size)
            self.free -= size
        try:
            yield
        finally:
            with self.given_back:
                self.free += size
                self.given_back.notify_all()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "forecast-gpu.json")
    parser.add_argument("--only", default="")
    parser.add_argument("--edges", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--one")
    parser.add_argument("--edge", type=int)
    given = parser.parse_args()
    if given.again:
        (given.out.with_suffix(".md")).write_text(page(json.loads(given.out.read_text())))
        return
    import torch

    if not torch.cuda.is_available() and not (given.one and '"device":"cpu"' in given.one):
        sys.exit("no card here: this bench has not run")
    if given.one:
        print(json.dumps(measure(Workload.model_validate_json(given.one), given.edge)))
        return
    name = torch.cuda.get_device_name()
    card = Device(name, torch.cuda.get_device_properties(0).total_memory)
    chosen = [w for w in configurations() if given.only.lower() in w.model.lower()]
    head: dict[str, Any] = {"device": name, "date": datetime.now(UTC).date().isoformat(), "torch": torch.__version__}
    head["side_by_side"] = given.jobs
    with ProcessPoolExecutor(2 * given.jobs, multiprocessing.get_context("spawn")) as pool:
        rows = list(pool.map(predicted, chosen, [card] * len(chosen)))
    kept = threading.Lock()

    def keep(row: dict[str, Any], found: dict[str, Any]) -> None:
        with kept:
            row["measured"] = found
            given.out.write_text(json.dumps({**head, "rows": rows}, indent=1))

    keep(head, alone(chosen[0]))  # the predictions stand before the others; side by side the driver shows everybody's
    context = head["measured"]["context"]
    room = Room(card.memory * 0.9)

    def work(w: Workload, row: dict[str, Any]) -> None:
        with room.taken(row["predicted"]["reserved"] + 2 * GIB):
            found = alone(w, row["predicted"]["edge"] - context if given.edges else None)
        keep(row, found)
        print(json.dumps(row), flush=True)

    with ThreadPoolExecutor(given.jobs) as threads:
        list(threads.map(work, chosen, rows))
    (given.out.with_suffix(".md")).write_text(page(json.loads(given.out.read_text())))


def page(found: dict[str, Any]) -> str:
    """Forecast and reading of each; the forecast before the reading, and one that is made now."""
    done = [r for r in found["rows"] if "allocated" in r["measured"]]
    tried = [r["measured"]["ran_at_edge"] for r in done if "ran_at_edge" in r["measured"]]
    card = Device(found["device"], 0)
    now = [predicted(Workload.model_validate(r["workload"]), card)["predicted"] for r in done]
    then = [r["predicted"] for r in done]
    lines = [
        "# Forecast against a card", "",
        f"{found['device']}, {found['date']}, torch {found['torch']}; `bench/forecast_gpu.py --edges`. {len(done)} of"
        f" {len(found['rows'])} configurations measured ({_why_not(found['rows'])}); {len(tried)} tried on the smallest"
        f" card said to fit, {tried.count(False)} out of memory there.", "",
        "| bytes | forecast | median error | 95th percentile | lowest | highest |", "|---|---|---:|---:|---:|---:|",
    ]  # fmt: skip
    for what in ("allocated", "reserved"):
        for who, rows in (("made before the reading", then), ("made by today's code", now)):
            errors = sorted(p[what] / r["measured"][what] - 1 for p, r in zip(rows, done, strict=True))
            sizes = sorted(map(abs, errors))
            cells = (statistics.median(sizes), sizes[int(0.95 * len(sizes))])
            ends = f"{errors[0]:+.2%} | {errors[-1]:+.2%}"
            lines.append(f"| {what} | {who} | {' | '.join(f'{c:.2%}' for c in cells)} | {ends} |")
    lines += [
        "",
        "| job | allocated GiB | then | now | reserved GiB | then | now | fits at the edge |",
        "|" + "---|" * 8,
    ]
    for r, p, n in zip(done, then, now, strict=True):
        m, w = r["measured"], {k: v for k, v in r["workload"].items() if k not in ("model", "task")}
        job = f"{r['workload']['model']} {', '.join(f'{k} {v}' for k, v in w.items())}"
        six = (m["allocated"], p["allocated"], n["allocated"], m["reserved"], p["reserved"], n["reserved"])
        lines.append(f"| {job} | {' | '.join(f'{x / GIB:.2f}' for x in six)} | {_edge(m)} |")
    return "\n".join(lines) + "\n"


def _edge(m: dict[str, Any]) -> str:
    return "" if "ran_at_edge" not in m else "ran" if m["ran_at_edge"] else "**out of memory**"


def _why_not(rows: list[dict[str, Any]]) -> str:
    errors = Counter(r["measured"]["error"].split(". ")[0] for r in rows if "error" in r["measured"])
    return "; ".join(f"{n}: {e}" for e, n in errors.items()) or "all"


if __name__ == "__main__":
    main()
