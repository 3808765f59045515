"""What this processor computes fast. Takes nothing, gives facts. No torch."""

from __future__ import annotations

from pathlib import Path


def cpu_has_bf16() -> bool:
    """bfloat16 in hardware (AVX512-BF16 or AMX); without it bfloat16 is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
