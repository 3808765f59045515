"""What several cards share. Takes one device's terms, gives those of each of W devices, and how sure that is. No torch.

DeepSpeed's ZeRO pages (stage 1 shards the optimizer, 2 the gradients, 3 the parameters; bucket sizes 5e8 elements), and
FSDP with mixed precision, whose full fine-tuning was checked against readings (bench/results/forecast).
"""

from __future__ import annotations

from collections.abc import Mapping

from trimtab.spec.workload import Workload

BUCKET = 500_000_000  # elements; DeepSpeed's reduce_bucket_size and allgather_bucket_size
SURE = {
    "none": "one device",
    "ddp": "closed form over a traced device: gradients once more in buckets; not checked against readings",
    "zero1": "closed form from DeepSpeed's documentation; not checked against readings",
    "zero2": "closed form from DeepSpeed's documentation; not checked against readings",
    "zero3": "closed form from DeepSpeed's documentation; not checked against readings",
    "fsdp": "closed form; full fine-tuning within 0.3 % of public readings where the update is the peak, LoRA up to 9 % low",
}


def shard(terms: Mapping[str, int], w: Workload, layers: int, trainable: int, parameters: int) -> dict[str, int]:
    """Terms of one of `w.devices` devices, offloaded ones left out."""
    if w.sharding == "none":
        return dict(terms)
    if w.sharding == "ddp":
        return {**terms, "communication": _gradients(terms, w, trainable)}
    found, devices = dict(terms), w.devices
    size = 4 if w.trains_adapter else 2 if w.dtype != "float32" else 4
    if w.sharding.startswith("zero") and not w.trains_adapter and size == 2:
        found["optimizer"] = 12 * trainable  # DeepSpeed keeps a float32 master beside the moments
    found["optimizer"] = 0 if w.offload else found.get("optimizer", 0) // devices
    if "optimizer step" in found:
        found["optimizer step"] = 0 if w.offload else found["optimizer step"] // devices
    if w.sharding in ("zero2", "zero3", "fsdp"):
        found["gradients"] = 0 if w.offload else _gradients(terms, w, trainable) // devices
    if w.sharding in ("zero1", "zero2"):
        found["communication"] = 2 * min(BUCKET, trainable) * size
    if w.sharding in ("zero3", "fsdp"):
        whole = terms.get("weights", 0)
        live = 2 * whole // max(1, layers)
        shared = 0 if w.offload and w.sharding == "zero3" else whole // devices
        found["weights"] = shared
        found["communication"] = live + (min(BUCKET, parameters) * 2 if w.sharding == "zero3" else 0)
    return {k: v for k, v in found.items() if v}


def _gradients(terms: Mapping[str, int], w: Workload, trainable: int) -> int:
    """At the traced peak they may not exist yet; sharded states are counted as if they did."""
    return terms.get("gradients") or trainable * (4 if w.trains_adapter or w.dtype == "float32" else 2)
