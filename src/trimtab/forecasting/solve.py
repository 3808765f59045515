"""The largest that fits, and what each cheaper option saves. Takes a workload and a card, gives plain rows. No torch.

Memory is nearly a straight line in the micro-batch and in the length, so two forecasts point at the answer and two
more prove it: the answer fits, the next larger does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from trimtab.errors import ForecastRefused, SpecError
from trimtab.forecasting.result import Fit, Forecast
from trimtab.spec.workload import Workload

Forecaster = Callable[[Workload], Forecast]
LIMITS = {"per_device_train_batch_size": 4096, "max_length": 1_048_576}
GRID = {"per_device_train_batch_size": 1, "max_length": 64}


def largest(
    w: Workload, what: Literal["per_device_train_batch_size", "max_length"], ask: Forecaster, limit: int | None = None
) -> dict[str, Any]:
    """Largest value that fits with its margin, both forecasts at the border. `value` is None where not even the
    smallest does."""
    grid, top = GRID[what], min(limit or LIMITS[what], LIMITS[what])
    tried: dict[int, Forecast] = {}

    def look(value: int) -> Forecast:
        if value not in tried:
            tried[value] = ask(w.but(**{what: value}))
        return tried[value]

    def fits(value: int) -> bool:
        return look(value).fit == Fit.FITS

    low = grid
    if not fits(low):
        return {"what": what, "value": None, "at": look(low).as_dict(), "above": None, "tried": len(tried)}
    high = _first_guess(low, top, grid, look)
    while high < top and fits(high):
        low, high = high, min(top, high + max(grid, (high - low)))
    if fits(high):
        low = high
    while high - low > grid:
        middle = _between(low, high, grid, look)
        low, high = (middle, high) if fits(middle) else (low, middle)
    above = look(high).as_dict() if high > low else None
    return {"what": what, "value": low, "at": look(low).as_dict(), "above": above, "tried": len(tried)}


def _first_guess(low: int, top: int, grid: int, look: Callable[[int], Forecast]) -> int:
    """Where the line through the smallest and its fourfold reaches the card's size."""
    second = min(top, 4 * low)
    if second <= low:
        return low
    return max(low + grid, min(top, _reach(low, second, look, grid) + grid))


def _between(low: int, high: int, grid: int, look: Callable[[int], Forecast]) -> int:
    guess = _reach(low, high, look, grid)
    return min(max(guess, low + grid), high - grid)


def _reach(a: int, b: int, look: Callable[[int], Forecast], grid: int) -> int:
    one, two = look(a), look(b)
    assert one.device is not None
    room = one.device["memory"] / (1 + one.margin)
    slope = (two.memory.used - one.memory.used) / (b - a)
    if slope <= 0:
        return b
    return int((a + (room - one.memory.used) / slope) // grid * grid)


def cheaper(w: Workload, ask: Forecaster) -> list[dict[str, Any]]:
    """This workload and, each changed by one thing, the ways to make it smaller; sorted by what they save."""
    rows = []
    base = ask(w)
    for name, changes in _options(w):
        try:
            answer = ask(w.but(**changes))
        except (ForecastRefused, SpecError, ValueError):
            continue
        rows.append(
            {"option": name, "changes": changes, "saved": base.memory.used - answer.memory.used, **_row(answer)}
        )
    rows.sort(key=lambda r: -r["saved"])
    return [{"option": "as asked", "changes": {}, "saved": 0, **_row(base)}, *rows]


def _row(f: Forecast) -> dict[str, Any]:
    return {"allocated": f.memory.allocated, "used": f.memory.used, "fit": f.fit, "how": f.how,
            "step": f.duration.step if f.duration else None}  # fmt: skip


def _options(w: Workload) -> list[tuple[str, dict[str, Any]]]:
    """Only what differs from the workload, and what its trainer can do."""
    options: list[tuple[str, dict[str, Any]]] = []
    if not w.gradient_checkpointing:
        options.append(("gradient checkpointing", {"gradient_checkpointing": True}))
    if w.per_device_train_batch_size > 1:
        half = w.per_device_train_batch_size // 2
        options.append(
            (
                f"micro-batch {half}, accumulation doubled",
                {"per_device_train_batch_size": half, "gradient_accumulation_steps": 2 * w.gradient_accumulation_steps},
            )
        )
    if w.method == "full" and not w.head_alone:
        options.append(("LoRA instead of full", {"method": "lora"}))
    if w.trainer == "trimtab":
        return options
    if not w.use_liger_kernel and not w.linear_cross_entropy:
        options.append(("Liger kernels (fused head and loss)", {"use_liger_kernel": True}))
        options.append(("torch's own fused head and loss", {"linear_cross_entropy": True}))
    if w.method == "full" and w.optim != "adamw_bnb_8bit":
        options.append(("8-bit AdamW", {"optim": "adamw_bnb_8bit"}))
        options.append(("paged 8-bit AdamW", {"optim": "paged_adamw_8bit"}))
    if w.method == "full" and w.optim == "adamw_torch":
        options.append(("fused AdamW", {"optim": "adamw_torch_fused"}))
    if not w.quantised:
        options.append(("QLoRA (4-bit base, double quantisation)", {"method": "qlora"}))
    if w.max_length > 256:
        options.append((f"cutoff {w.max_length // 2}", {"max_length": w.max_length // 2}))
    if w.sharding == "none":
        options += [(f"{name} over 2 devices", {"sharding": key, "devices": 2})
                  for name, key in (("ZeRO-2", "zero2"), ("ZeRO-3", "zero3"), ("FSDP", "fsdp"))]  # fmt: skip
    return options
