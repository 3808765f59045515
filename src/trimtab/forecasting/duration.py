"""Seconds of a training step. Takes FLOPs, a card and what is known of its speed, gives a figure with a range. No
torch.

Share of the peak that real runs reach (A100, sequence 4,096, bf16; fms-acceleration's readings): full fine-tuning
with checkpointing 0.61, LoRA 0.51 (QLoRA's 0.55 is of another adapter), QLoRA with float32 norms 0.45. Small models
reach less: santacoder's 0.38 (1.1 B). QLoRA unpacks its weights in every pass besides, whatever the pass holds: UNPACK.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.forecasting.result import Duration
from trimtab.planning.catalogue import Device
from trimtab.spec.recipe import optimizer_steps
from trimtab.spec.workload import Workload

SHARE = {"full": 0.61, "lora": 0.51, "qlora": 0.51}
KBIT = 0.45
# Seconds a micro-batch for a billion parameters at 600 GB/s (A10G): what 4-bit weights took longer than the same
# LoRA in litgpt's published times, ten pairs with one micro-batch, 0.026 to 0.047. In short passes it is half the time.
UNPACK = 0.03
SPREAD = 1.25  # two thirds of the readings lie within this factor where the method is known
# Of long products' speed that a whole step reaches: SmolLM2-135M on two cores, 0.36 (LoRA, float32), 0.28 (bfloat16),
# 0.43 (full).
OF_PROBE = 0.35
UNKNOWN = 1.6  # where the size or card is far from those that were measured


def share_of_peak(w: Workload, parameters: int) -> float:
    """Achieved FLOP/s over the peak. Below 3 B parameters kernels are too short to fill a card."""
    best = KBIT if w.quantised and w.prepare_model_for_kbit_training else SHARE[w.method]
    small = min(1.0, max(0.2, (parameters / 3e9) ** 0.25))
    return best * small


def unpacking(w: Workload, parameters: int, device: Device) -> float:
    """Seconds a step in which quantised weights are brought to the type that products are taken in."""
    if not w.quantised or not device.bandwidth:
        return 0.0
    return UNPACK * parameters / 1e9 * 600 / device.bandwidth * w.gradient_accumulation_steps


def computed_in(w: Workload) -> str:
    """The type that products are taken in."""
    return {"bf16": "bfloat16", "fp16": "float16"}.get(w.autocast, w.dtype)


def kind_of(w: Workload) -> str:
    """Workloads whose speed is comparable."""
    return f"{'head' if w.head_alone else w.method} {computed_in(w)}"


def of_a_step(flops: int, below: int, w: Workload) -> int:
    """The mean over a run: what lies below every trained layer (`below`) is computed at an example's first visit, for
    all members and epochs."""
    steps, examples = _steps(w), w.examples
    epochs = steps * w.effective_batch / examples if steps and examples else w.num_train_epochs
    return round(flops - below * (1 - 1 / max(1.0, epochs * w.members)))


def duration(
    flops: int, w: Workload, parameters: int, device: Device | None, known: Mapping[str, Any]
) -> Duration | None:
    """`known`: "achieved" FLOP/s of earlier runs here by method, and the "speed" of this machine's products
    (calibrate.py)."""
    steps = _steps(w)
    work = flops * (1.0 if w.mean_length is None else min(1.0, w.mean_length / w.max_length))
    kind = computed_in(w)
    if achieved := known.get("achieved", {}).get(kind_of(w)):
        return _ranged(work / achieved, steps, SPREAD, "earlier runs on this machine")
    if reached := known.get("speed", {}).get(kind):
        return _ranged(work / (reached * OF_PROBE), steps, UNKNOWN, "this machine's probe")
    peak = device.peak(kind) if device else None
    if device is None or not peak:
        return None
    near = parameters >= 3e9 and w.device == "cuda"
    return _ranged(
        work / (share_of_peak(w, parameters) * peak * 1e12) + unpacking(w, parameters, device),
        steps,
        SPREAD if near else UNKNOWN,
        f"{device.name}'s data sheet",
    )


def _steps(w: Workload) -> int | None:
    if w.examples is None:
        return w.max_steps if w.max_steps > 0 else None
    return optimizer_steps(w.examples, w.num_train_epochs, w.effective_batch, w.max_steps)


def _ranged(seconds: float, steps: int | None, factor: float, basis: str) -> Duration:
    return Duration(seconds, seconds / factor, seconds * factor, steps, basis)
