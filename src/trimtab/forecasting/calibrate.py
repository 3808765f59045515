"""What this machine is really like: context, workspace, achieved FLOP/s; and what earlier runs showed. Torch only in
the probe.

A probe is kept beside the traces with its date, device and versions; residuals come from a store's forecasts.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trimtab.datasets.assets import cache_folder
from trimtab.forecasting.cache import versions

ENOUGH = 10  # readings before residuals replace the default margin
SIZES = (512, 1024, 2048)


def probe(say: Callable[[str], None] = lambda _: None, seconds: float = 10.0) -> dict[str, Any]:
    """About ten seconds of products; on a card also its context and workspace. Gives and keeps the calibration."""
    import torch

    from trimtab.run import machine

    here = machine.look()
    torch.set_num_threads(here.threads)
    say(f"Probing {here.name} for about {seconds:.0f} s")
    kinds = ["float32", "bfloat16"] + (["float16"] if here.device == "cuda" else [])
    result: dict[str, Any] = {
        "device": here.device, "name": here.name, "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": here.threads, "versions": versions(), **(_fixed() if here.device == "cuda" else {}),
    }  # fmt: skip
    result["speed"] = {kind: _flops_per_second(kind, here.device, seconds / len(kinds)) for kind in kinds}
    file().parent.mkdir(parents=True, exist_ok=True)
    file().write_text(json.dumps(result, indent=1))
    return result


def _fixed() -> dict[str, int]:
    """Bytes of cuBLAS's workspaces, and of what lies outside PyTorch's allocator."""
    import torch

    before = torch.cuda.memory_allocated()
    x = torch.ones(256, 256, device="cuda", dtype=torch.bfloat16)
    torch.nn.functional.linear(x, x, x[0]) @ x
    torch.cuda.synchronize()
    workspace = torch.cuda.memory_allocated() - before - x.untyped_storage().nbytes()
    free, total = torch.cuda.mem_get_info()
    return {"workspace": workspace, "context": total - free - torch.cuda.memory_reserved()}


def _flops_per_second(kind: str, device: str, seconds: float) -> float:
    """The best median over sizes: what long products reach here."""
    import torch

    from trimtab.run.machine import products

    sizes, dtype = SIZES if device == "cpu" else (2048, 4096, 8192), getattr(torch, kind)
    return max(2 * n**3 / statistics.median(products(n, dtype, device, seconds / len(sizes))) for n in sizes)


def file() -> Path:
    return cache_folder() / "forecast" / "calibration.json"


def known(device: str, rows: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """What a forecast for this machine may use: the probe if it was of this kind of device, and earlier runs'
    residuals."""
    try:
        probed = json.loads(file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        probed = {}
    probe = {k: probed[k] for k in ("context", "workspace", "speed") if k in probed and probed.get("device") == device}
    return probe | learned(rows, device)


def learned(rows: Sequence[Mapping[str, Any]], device: str) -> dict[str, Any]:
    """`achieved`: median FLOP/s of earlier runs, by method and type; `margin`: 99th percentile of what was reserved
    beyond the forecast."""
    mine = [r for r in rows if r["predicted"].get("device") == device]
    speeds: dict[str, list[float]] = {}
    for r in mine:
        if (each := r["predicted"].get("flops_per_size")) and (rate := r["measured"].get("size_per_second")):
            speeds.setdefault(r["predicted"]["kind"], []).append(each * rate)
    lessons: dict[str, Any] = {"achieved": {k: statistics.median(v) for k, v in speeds.items()}} if speeds else {}
    pairs = [(r["measured"].get("reserved"), r["predicted"].get("reserved")) for r in mine]
    over = sorted(m / p - 1 for m, p in pairs if m and p)
    if len(over) >= ENOUGH:
        lessons["margin"] = max(0.01, over[min(len(over) - 1, int(0.99 * len(over)))])
    return lessons


def residuals(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a run: predicted, measured and their ratio, for allocated and reserved bytes and seconds a step."""
    compared, now = [], versions()
    for r in rows:
        taken = r["predicted"].get("versions") or {}
        row: dict[str, Any] = {
            "run": r["run"], "device": r["predicted"].get("device"), "versions": taken,
            "other_versions": {k: v for k, v in taken.items() if now.get(k) != v},
        }  # fmt: skip
        for key in ("allocated", "reserved", "seconds"):
            predicted, measured = r["predicted"].get(key), r["measured"].get(key)
            row[key] = {"predicted": predicted, "measured": measured,
                        "error": predicted / measured - 1 if predicted and measured else None}  # fmt: skip
        compared.append(row)
    return compared
