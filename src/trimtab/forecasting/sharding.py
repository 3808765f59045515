"""What several cards share. Takes one device's terms, gives those of each of W devices, and how sure that is. No torch.

DeepSpeed's ZeRO pages (stage 1 shards the optimizer, 2 the gradients, 3 the parameters; bucket sizes 5e8 elements), and
FSDP with mixed precision, whose full fine-tuning was checked against readings (bench/results/forecast).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trimtab.spec.workload import Workload

BUCKET = 500_000_000  # elements; DeepSpeed's reduce_bucket_size and allgather_bucket_size
MARGIN = 0.2  # instead of one device's, until the formulas have been checked more widely
SURE = {
    "none": "one device",
    "ddp": "closed form over a traced device: gradients once more in buckets; not checked against readings",
    "zero1": "closed form from DeepSpeed's documentation; not checked against readings",
    "zero2": "closed form from DeepSpeed's documentation; not checked against readings",
    "zero3": "closed form from DeepSpeed's documentation; not checked against readings",
    "fsdp": (
        "closed form; against public readings full fine-tuning 0 to 8 % high, LoRA within 6 %, up to 36 % low in mixed"
        " precision"
    ),
}


@dataclass(frozen=True)
class Size:
    """Of one device's model: how deep, how many weights, how many of them trained, how many outside the layers."""

    layers: int
    parameters: int
    trainable: int
    root: int


def shard(terms: Mapping[str, int], w: Workload, size: Size, phase: str = "backward") -> dict[str, int]:
    """Terms of one of `w.devices` devices in a phase of the step; what is offloaded is left out."""
    if w.sharding == "none":
        return dict(terms)
    each = 4 if w.trains_adapter or w.dtype == "float32" else 2
    if w.sharding == "ddp":
        return {**terms, "communication": size.trainable * each}
    shared, devices = dict(terms), w.devices
    for name in ("optimizer", "optimizer step"):
        shared[name] = 0 if w.offload else _states(terms.get(name, 0), name, w, size) // devices
    if w.sharding in ("zero2", "zero3", "fsdp"):
        shared["gradients"] = 0 if w.offload else terms.get("gradients", 0) * _master(w) // devices
    if w.sharding in ("zero1", "zero2"):
        shared["communication"] = 2 * min(BUCKET, size.trainable) * each
    if w.sharding in ("zero3", "fsdp"):
        whole = terms.get("weights", 0)
        shared["weights"] = 0 if w.offload and w.sharding == "zero3" else whole * _master(w) // devices
        if phase != "update":
            shared["communication"] = _gathered(whole, w, size, phase)
    return {k: v for k, v in shared.items() if v}


def _master(w: Workload) -> int:
    """FSDP under mixed precision keeps what it trains in float32, twice the bytes of a 16-bit model."""
    return 2 if w.sharding == "fsdp" and w.method == "full" and w.autocast != "no" and w.dtype != "float32" else 1


def _states(traced: int, name: str, w: Workload, size: Size) -> int:
    if w.sharding.startswith("zero") and w.method == "full" and w.dtype != "float32" and name == "optimizer":
        return 12 * size.trainable  # DeepSpeed keeps a float32 master beside the moments
    return traced * _master(w)


def _gathered(weights: int, w: Workload, size: Size, phase: str) -> int:
    """The layer at work, the next one on its way, and what lies outside the layers; in backward also their
    gradients."""
    bytes_each = weights / max(1, size.parameters)
    root = int(size.root * bytes_each)
    layer = (weights - root) // max(1, size.layers)
    gradients = layer + root if w.method == "full" and "backward" in phase else 0
    prefetch = min(BUCKET, size.parameters) * 2 if w.sharding == "zero3" else 0
    return root + 2 * layer + gradients + prefetch
