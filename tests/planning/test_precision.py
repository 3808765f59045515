"""What a device computes fast in bfloat16."""

import pytest

from trimtab.planning import precision


@pytest.mark.parametrize("isa", ["AVX2", "avx512_core", "SSE41"])
def test_no_bfloat16_where_its_kernels_are_switched_off(monkeypatch, isa):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", isa)
    assert not precision.cpu_has_bf16()
    assert not precision.computes_bf16(None, on_processor=True)


@pytest.mark.parametrize(("flags", "fast"), [("avx2 avx512f", False), ("avx512_bf16", True), ("amx_bf16", True)])
def test_a_processor_says_what_it_has(monkeypatch, flags, fast):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(precision.Path, "read_text", lambda _path: f"flags : {flags}")
    assert precision.cpu_has_bf16() is fast
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "ALL")
    assert precision.cpu_has_bf16() is fast
