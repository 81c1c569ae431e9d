"""What a search found, and its JSON form (`fofa-search --json`).

Keys are stable. At the top: `schema` (`fofa.search/1`), `method` (`exact` or `evolution`),
`seconds` (of searching, tables loaded), `considered` (architectures looked at), `seed`, `notes`
(sentences that must go with the numbers), `results` and `pareto`. A row of these two is one network
on one device; a joint search has a row for each device:

    architecture        name, as the accuracy knows it
    timed_as            name whose latency was looked up; differs only for a declared stand-in
    device, lut         the table's device and file; null where there is none
    method              of the latency: measured, published or estimated
    batch_size          images that the latency is for
    latency_ms          predicted by the table
    error_percent       the table's own validated error; null if it was not validated
    limit_ms            as given; null for none
    margin              none or noise
    top1, top1_source   percent; measured or predicted
    macs, max_macs      of one image

With `--verify` there is also `verification`: the fields of `Verdict` for each result.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from fofa.latency import Method
from fofa.search.margin import Margin

SCHEMA = "fofa.search/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network on one device; fields as in the module's docstring."""

    architecture: str
    timed_as: str
    device: str | None
    lut: str | None
    method: Method | None
    batch_size: int | None
    latency_ms: float | None
    error_percent: float | None
    limit_ms: float | None
    margin: Margin
    top1: float
    top1_source: Literal["measured", "predicted"]
    macs: int
    max_macs: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything a search found; `results` is empty where nothing was limited."""

    method: Literal["exact", "evolution"]
    results: tuple[Row, ...]
    pareto: tuple[Row, ...]
    notes: tuple[str, ...]
    considered: int
    seconds: float
    seed: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        return {
            "schema": SCHEMA,
            "method": self.method,
            "seconds": self.seconds,
            "considered": self.considered,
            "seed": self.seed,
            "notes": list(self.notes),
            "results": [asdict(row) for row in self.results],
            "pareto": [asdict(row) for row in self.pareto],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Predicted and measured latency of one row, side by side.

    Attributes:
        error_percent: of the prediction, signed: positive where it says more than was measured.
        noise_percent: of the measurement itself.
        holds: whether the measured latency keeps the limit; None where there is no limit.
        warnings: why the comparison may not be a fair one (unstable, other conditions).
    """

    architecture: str
    lut: str
    predicted_ms: float
    measured_ms: float
    error_percent: float
    noise_percent: float
    limit_ms: float | None
    holds: bool | None
    warnings: tuple[str, ...]
