"""Published latencies: facts with their sources, which estimates are fitted to and judged by."""

from __future__ import annotations

import csv
import functools
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from fofa.accuracy import Positive
from profilers.estimates.kernels import RuntimeClass, lower
from profilers.estimates.model import KernelCounts, Machine
from profilers.estimates.networks import published_network
from profilers.hardware.peak_rates import Dtype, find_hardware

LATENCIES_FILE = Path(__file__).with_name("published_latencies.csv")


class PublishedLatency(BaseModel):
    """One measurement that somebody published; milliseconds are of the whole batch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hardware: str
    network: str
    resolution: Annotated[int, Field(ge=8)]
    batch_size: Annotated[int, Field(ge=1)]
    dtype: Dtype
    runtime_class: RuntimeClass
    latency_ms: Positive
    source: Annotated[str, Field(min_length=1)]

    @property
    def machine(self) -> Machine:
        """What it was measured on."""
        hardware = find_hardware(self.hardware)
        threads = hardware.cores if hardware.kind == "cpu" else 1
        return Machine(
            hardware=hardware, dtype=self.dtype, runtime=self.runtime_class, threads=threads
        )

    @property
    def kernels(self) -> KernelCounts:
        """The kernels that its network is in its runtime."""
        return _kernels(self.network, self.resolution, self.runtime_class)


@functools.cache
def published_latencies() -> tuple[PublishedLatency, ...]:
    """Every row of the file, in its order."""
    with LATENCIES_FILE.open(encoding="utf-8", newline="") as file:
        return tuple(PublishedLatency.model_validate(row) for row in csv.DictReader(file))


@functools.cache
def _kernels(network: str, resolution: int, runtime: RuntimeClass) -> KernelCounts:
    return KernelCounts.of(lower(published_network(network, resolution), runtime))
