"""A simulated device: deterministic, without a real clock. For tests of the core, and to show what
a measurement does about faults whose size is known.

Time passes only when something runs. A network takes the sum of its blocks, each a fixed cost plus
its multiply-adds at a fixed rate, less what fusion saves at every border between two blocks. On top
of that come, as asked for: drift of the machine's speed, outliers, scatter, cold caches after
another item ran, and a device that returns before it is done.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fofa.errors import UserError
from fofa.latency import ProtocolRecord
from fofa.space import BlockSpec, block_macs
from profilers.hardware.load import Interference
from profilers.measuring.rounds import Instruments
from profilers.plugin import Availability, MeasuringPlugin, PluginOptions, Runner, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedDevice:
    """What the simulated device is like.

    Attributes:
        block_ms: fixed cost of a block.
        macs_per_ms: rate of everything else.
        fusion_ms: saved where two blocks meet.
        cold_factors: how much slower the first, second, ... run is after another item ran.
        drift: slowness of the machine at a time in seconds; 1 is its normal speed.
        outlier_share, outlier_factor: of the runs, and how much slower they are.
        scatter: standard deviation of each run, relative.
        launch_ms: of a device that does not wait; None for one that does.
        build_luck: how much two builds of one network differ, as a relative standard deviation.
        build_seconds: what building anything takes.
        seed: of outliers, scatter and luck.
    """

    block_ms: float = 0.02
    macs_per_ms: float = 1e8
    fusion_ms: float = 0.005
    cold_factors: tuple[float, ...] = ()
    drift: Callable[[float], float] = lambda seconds: 1.0
    outlier_share: float = 0.0
    outlier_factor: float = 20.0
    scatter: float = 0.0
    launch_ms: float | None = None
    build_luck: float = 0.0
    build_seconds: float = 0.0
    seed: int = 0

    def latency_ms(self, blocks: Sequence[BlockSpec]) -> float:
        """The true latency at normal speed."""
        total = sum(self.block_ms + block_macs(block) / self.macs_per_ms for block in blocks)
        return total - self.fusion_ms * (len(blocks) - 1)


@dataclass(slots=True)
class SimulatedTime:
    """The clock, and what ran last."""

    seconds: float = 0.0
    last: object = None
    runs_in_row: int = 0
    runs: int = 0

    def now(self) -> float:
        """Seconds since the simulation began."""
        return self.seconds

    def wait(self, seconds: float) -> None:
        """Nothing runs for a while."""
        self.seconds += seconds


class SimulatedPlugin(MeasuringPlugin):
    """Opens sessions on a simulated device; all of them share its clock."""

    name = "simulated"
    summary = "a simulated device"

    def __init__(self, device: SimulatedDevice | None = None) -> None:
        self.device = device or SimulatedDevice()
        self.time = SimulatedTime()

    def availability(self) -> Availability:
        return Availability(True)

    def open(self, options: PluginOptions) -> SimulatedSession:
        return SimulatedSession(self.device, self.time, options.batch_size or 1)

    def instruments(self, **others: Any) -> Instruments:
        """Instruments that go by the simulated clock and see a quiet machine."""
        quiet = {"interference": lambda: Interference(other_cpu_percent=0.0, steal_percent=0.0)}
        return Instruments(clock=self.time.now, nap=self.time.wait, **(quiet | others))


class SimulatedSession(Session):
    """Lowers blocks to runs of known length."""

    def __init__(
        self, device: SimulatedDevice, time: SimulatedTime, batch_size: int, replica: int = 0
    ) -> None:
        self._device, self._time, self._batch_size = device, time, batch_size
        self._replica = replica

    @property
    def protocol(self) -> ProtocolRecord:
        return ProtocolRecord(
            plugin="simulated", runtime="simulated", dtype="fp32", batch_size=self._batch_size
        )

    def replica(self, number: int) -> SimulatedSession:
        return SimulatedSession(self._device, self._time, self._batch_size, number)

    def lower(self, blocks: Sequence[BlockSpec]) -> SimulatedRunner:
        device = self._device
        self._time.seconds += device.build_seconds
        luck = random.Random(f"{device.seed}/{self._replica}/{list(blocks)}")
        latency_ms = device.latency_ms(blocks) * self._batch_size
        if device.build_luck:
            latency_ms *= max(0.1, luck.gauss(1.0, device.build_luck))
        return SimulatedRunner(device, self._time, latency_ms)

    def load(self, network: Path) -> SimulatedRunner:
        raise UserError(f"{network}: a simulated device loads no files")


@dataclass(eq=False, slots=True)
class SimulatedRunner(Runner):
    """Takes `latency_ms`, changed by what the device is like at that moment."""

    device: SimulatedDevice
    time: SimulatedTime
    latency_ms: float
    closed: bool = field(default=False)

    def run(self) -> float:
        """Let the time pass and return what a stopwatch would show."""
        device, time = self.device, self.time
        time.runs_in_row = time.runs_in_row + 1 if time.last is self else 0
        time.last = self
        time.runs += 1
        rng = random.Random(f"{device.seed}/{time.runs}")
        took = self.latency_ms * device.drift(time.seconds)
        if time.runs_in_row < len(device.cold_factors):
            took *= device.cold_factors[time.runs_in_row]
        took *= max(0.1, rng.gauss(1.0, device.scatter)) if device.scatter else 1.0
        if rng.random() < device.outlier_share:
            took *= device.outlier_factor
        time.seconds += took / 1e3
        return took if device.launch_ms is None else min(device.launch_ms, took)

    def close(self) -> None:
        """Nothing to free."""
        self.closed = True
