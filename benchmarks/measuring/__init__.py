"""Evidence for docs/measuring.md: what each fault of a measurement does to the result.

`python -m benchmarks.measuring` prints it as Markdown: faults of known size on the simulated
device, faults of reading on a measured table, and two that need this machine's own runtime.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault, what was looked at, and the figure with and without the fault."""

    fault: str
    where: str
    figure: str
    with_fault: str
    without: str

    def row(self) -> str:
        """As a row of a Markdown table."""
        cells = (self.fault, self.where, self.figure, self.with_fault, self.without)
        return f"| {' | '.join(cells)} |"


HEADER = "| fault | where | figure | with the fault | as fofa measures |\n|---|---|---|---|---|"
