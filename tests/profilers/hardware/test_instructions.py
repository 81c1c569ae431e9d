"""What a processor computes with is read from Linux's accounts, of x86 and of ARM."""

from __future__ import annotations

from pathlib import Path

import pytest

from fofa.latency import DeviceRecord
from profilers.hardware.instructions import is_virtual, vector_instructions


@pytest.mark.parametrize(
    ("line", "vectors", "virtual"),
    [
        ("flags\t\t: fpu sse2 avx avx2 avx512f avx512_bf16 hypervisor", "AVX-512", True),
        ("flags\t\t: fpu sse2 avx avx2", "AVX2", False),
        ("flags\t\t: fpu sse2", "SSE2", False),
        ("Features\t: fp asimd evtstrm sve", "SVE", None),
        ("Features\t: fp asimd", "NEON", None),
        ("Features\t: half thumb neon vfpv4", "NEON", None),
        ("Features\t: half thumb", None, None),
        ("isa\t\t: rv64imafdc", None, None),
    ],
)
def test_the_widest_vectors_are_named(
    tmp_path: Path, line: str, vectors: str | None, virtual: bool | None
) -> None:
    processors = tmp_path / "cpuinfo"
    processors.write_text(f"processor\t: 0\nmodel name\t: Some flags\n{line}\n\nprocessor\t: 1\n")
    assert vector_instructions(processors) == vectors
    assert is_virtual(processors) is virtual


def test_where_nothing_can_be_read_nothing_is_said(tmp_path: Path) -> None:
    assert vector_instructions(tmp_path / "none") is None
    assert is_virtual(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("cpu", "name"),
    [
        ({"model": "AMD EPYC", "vectors": "AVX2"}, "AMD EPYC (AVX2)"),
        ({"model": "AMD EPYC", "vectors": None}, "AMD EPYC"),
        ({"model": "AMD EPYC"}, "AMD EPYC"),  # tables that were made before
        ({"model": None, "vectors": "AVX2"}, None),
        (None, None),
    ],
)
def test_a_tables_hardware_is_the_processor_with_its_vectors(
    cpu: dict[str, str | None] | None, name: str | None
) -> None:
    record = DeviceRecord(requested="cpu", measured_on={"cpu": cpu}, matches=None)
    assert record.hardware == name
