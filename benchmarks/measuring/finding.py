"""One line of evidence."""

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
