"""What a processor can compute with, from what Linux says of it.

Virtual machines call processors alike that differ in this, and in speed by half. Plain Python 3.8:
the agent on a machine that is measured from afar carries this very text (`profilers.remote`).
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

PROCESSORS = Path("/proc/cpuinfo")
VECTORS = (
    ("avx512f", "AVX-512"),
    ("avx2", "AVX2"),
    ("avx", "AVX"),
    ("sse2", "SSE2"),
    ("sve", "SVE"),
    ("asimd", "NEON"),
    ("neon", "NEON"),
)
"""Linux's words (x86, then ARM) and the field's, the widest of a kind first."""


def is_virtual(processors: Path = PROCESSORS) -> bool | None:
    """Whether this is a virtual machine, as an x86 processor tells; None where none does."""
    flags = _features("flags", processors)
    return "hypervisor" in flags if flags else None


def vector_instructions(processors: Path = PROCESSORS) -> str | None:
    """The widest vector instructions that there are; None where that cannot be seen."""
    known = _features("flags", processors) or _features("Features", processors)
    return next((name for word, name in VECTORS if word in known), None)


def _features(label: str, processors: Path) -> frozenset[str]:
    """The words behind `label` of the first processor."""
    with contextlib.suppress(OSError):
        text = processors.read_text(encoding="utf-8", errors="replace")
        found = re.search(rf"^{label}\s*:(.*)$", text, re.MULTILINE)
        if found:
            return frozenset(found[1].split())
    return frozenset()
