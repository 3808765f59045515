"""What a device computes fast in bfloat16: the one answer. Takes a device, or this processor; gives yes or no. No
torch."""

from __future__ import annotations

import os
from pathlib import Path

from trimtab.planning.catalogue import Device


def computes_bf16(device: Device | None, on_processor: bool) -> bool:
    """Whether bfloat16 is quicker than float32 there. A card of which only the memory is known is taken for a recent
    one."""
    if on_processor:
        return cpu_has_bf16()
    return device is None or device.bf16 is not None or device.fp16 is None


OLDER = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")  # sets without bfloat16


def cpu_has_bf16() -> bool:
    """bfloat16 in hardware (AVX512-BF16 or AMX); without it bfloat16 is slower than float32. Nor where a person has
    switched it off (ONEDNN_MAX_CPU_ISA), to see what an older processor does."""
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in OLDER:
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
