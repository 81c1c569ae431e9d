"""Whether this processor multiplies 8-bit numbers exactly, and what is said where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from fofa.runtime.session import products_overflow


def test_products_overflow_on_x86_without_vnni() -> None:
    accounts = Path("/proc/cpuinfo")
    flags = set(accounts.read_text().split()) if accounts.is_file() else set()
    if "avx2" not in flags:
        pytest.skip("no x86 processor with AVX2 here")
    assert products_overflow() != any("vnni" in flag for flag in flags)
