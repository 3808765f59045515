"""The articles' memory rule beside the trace: Qwen2.5-7B, bf16, LoRA, 4K. Prints the table of docs/forecast.md.

.venv/bin/python bench/forecast_table.py
"""

from __future__ import annotations

from typing import Any

from trimtab.forecasting.forecast import forecast
from trimtab.planning.catalogue import find_device
from trimtab.spec.workload import Workload

GB, GIB = 1e9, 2**30
BASE = Workload(model="Qwen/Qwen2.5-7B-Instruct", max_length=4096, r=8, per_device_train_batch_size=1)
# name, what differs, the rule's figure in GB (None where the articles give none)
ROWS: list[tuple[str, dict[str, Any], float | None]] = [
    ("LoRA r 8, checkpointing", {}, 14 + 1 + 0.5 + 4 * 2.5),
    ("cutoff 1024", {"max_length": 1024}, 14 + 1 + 0.5 + 2.5),
    ("cutoff 8192", {"max_length": 8192}, 14 + 1 + 0.5 + 8 * 2.5),
    ("with Liger kernels", {"use_liger_kernel": True}, 14 + 1 + 0.5 + 4 * 0.6),
    ("with torch's fused head and loss", {"linear_cross_entropy": True}, None),
    ("rank 64", {"r": 64}, 14 + 1 + 0.5 + 10 + 2),
    ("no checkpointing", {"gradient_checkpointing": False}, None),
    ("QLoRA, double quantisation", {"method": "qlora"}, None),
    ("full fine-tuning, fused AdamW", {"method": "full"}, None),
    ("full fine-tuning, foreach AdamW", {"method": "full", "optim": "adamw_torch"}, None),
    ("full, ZeRO-2 over 4 devices", {"method": "full", "sharding": "zero2", "devices": 4}, None),
    ("full, ZeRO-3 over 4 devices", {"method": "full", "sharding": "zero3", "devices": 4}, None),
    ("LoRA, ZeRO-2 over 2 devices", {"sharding": "zero2", "devices": 2}, None),
    ("LoRA, ZeRO-3 over 2 devices", {"sharding": "zero3", "devices": 2}, None),
]


def main() -> None:
    card, _ = find_device("H100")
    print("| change | rule, GB | allocated, GB | reserved + context, GB | rule against allocated |")
    print("|---|---:|---:|---:|---:|")
    for name, changes, rule in ROWS:
        m = forecast(BASE.but(**changes), card).memory
        wide = m.allocated / GB
        error = f"{rule / wide - 1:+.0%}" if rule else ""
        print(f"| {name} | {f'{rule:.1f}' if rule else '–'} | {wide:.1f} | {m.used / GB:.1f} | {error} |")


if __name__ == "__main__":
    main()
