"""What a profiler plugin is. Anyone can ship one: an entry point in the group `fofa.profilers`.

A plugin describes itself (name, defaults, availability) without importing its runtime. Opened, it
gives a session, which lowers block lists to its runtime: the same call serves one block and a whole
network. A plugin that does not run anything (published tables, estimates) makes its table directly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from fofa.errors import UserError
from fofa.latency import MAX_BATCH_SIZE, Lut, Method, ProtocolRecord
from fofa.space import BlockSpec, NetworkConfig, SearchSpace

ENTRY_POINT_GROUP = "fofa.profilers"
MAX_THREADS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginOptions:
    """What a person can choose about a measurement; None takes the plugin's default.

    Raises:
        UserError: for numbers that no runtime takes. What its own allows a plugin says itself.
    """

    batch_size: int | None = None
    dtype: str | None = None
    threads: int | None = None
    source: str | None = None
    extra: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.batch_size or 0) > MAX_BATCH_SIZE:
            raise UserError(f"batch size {self.batch_size}: expected {MAX_BATCH_SIZE} at most")
        if (self.threads or 0) > MAX_THREADS:
            raise UserError(f"{self.threads} threads: expected {MAX_THREADS} at most")


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether the plugin can run here; if not, why, and what to install."""

    available: bool
    reason: str = ""


class Runner(Protocol):
    """A lowered block or network, ready to run. Runners derive from it and so inherit `visit`."""

    def run(self) -> float:
        """Run once, wait until it is done, return the milliseconds by the plugin's own clock."""
        ...

    def visit(self, warmup: int, samples: int) -> Sequence[float]:
        """Run `warmup` times unrecorded, then `samples` times; the milliseconds of the latter.

        All in a row and nothing else in between. What runs on another machine does it there, in
        one message.
        """
        for _ in range(warmup):
            self.run()
        return [self.run() for _ in range(samples)]

    def close(self) -> None:
        """Release the runtime's resources."""
        ...


Meter = Callable[[], Mapping[str, float | None]]
"""Gives what others took since it was last asked, by the names of the fields of
`profilers.hardware.load.Interference`; None where the machine does not tell."""


@dataclass(frozen=True, slots=True)
class EnergyCounter:
    """Counts the energy that hardware takes.

    Attributes:
        source: what counts, and of what.
        joules: since some moment; it shows another number only from time to time.
    """

    source: str
    joules: Callable[[], float]


class Session(ABC):
    """An opened runtime with fixed options. A context manager; leaving it frees the runtime."""

    @property
    @abstractmethod
    def protocol(self) -> ProtocolRecord:
        """How this session measures, as the table records it."""

    @abstractmethod
    def lower(self, blocks: Sequence[BlockSpec]) -> Runner:
        """Turn consecutive blocks (one, or a whole network) into something that runs."""

    @abstractmethod
    def load(self, network: Path) -> Runner:
        """Turn an exported ONNX network into something that runs.

        Raises:
            UserError: if the file is no network that this runtime takes.
        """

    def replica(self, number: int) -> Session:
        """A session whose builds share no choice that the runtime made for this one's.

        Two builds of one network may differ in speed, where a runtime tries kernels and takes the
        fastest; networks that are timed twice are built by different replicas. Most runtimes make
        the same of the same network, for which this session does. It is closed with this one.

        Args:
            number: 1 or more; this session is replica 0.
        """
        return self

    def environment(self) -> dict[str, Any]:
        """State of the hardware that may differ from moment to moment (clocks, temperature).

        A GPU's is under the key `gpu`, as `profilers.measuring.stability` reads it.
        """
        return {}

    def machine(self) -> dict[str, Any] | None:
        """The machine that runs what is lowered, where that is not this one.

        Returns:
            What `profilers.hardware.environment.capture_environment` says of a machine, and under
            `state` what `live_state` says of it right now. None: it is this machine.
        """
        return None

    def meter(self) -> Meter | None:
        """What reads the load of the machine that runs what is lowered; None: it is this one."""
        return None

    def energy(self) -> AbstractContextManager[EnergyCounter]:
        """Opens what counts the energy of the hardware that runs what is lowered.

        Raises:
            UserError: saying why it cannot be read.
        """
        raise UserError(f"plugin {self.protocol.plugin} knows no counter of energy")

    def hardware(self) -> dict[str, Any]:
        """What the measurement runs on (model names, versions), as the table records it."""
        return {}

    def close(self) -> None:  # noqa: B027 - most runtimes need no closing
        """Free the runtime."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Plugin(ABC):
    """A way to get latencies. `name` is what `--device` and files call it."""

    name: ClassVar[str]
    summary: ClassVar[str]
    method: ClassVar[Method]

    @abstractmethod
    def availability(self) -> Availability:
        """Whether it can run here, found out cheaply."""


class MeasuringPlugin(Plugin):
    """A plugin that runs networks on hardware that is present."""

    method: ClassVar[Method] = "measured"

    @abstractmethod
    def open(self, options: PluginOptions) -> Session:
        """Start the runtime.

        Raises:
            UserError: if the runtime or hardware is missing (says what to install) or an option
                is not possible.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkEstimate:
    """An estimated latency of one network: milliseconds of a batch, with a 90% interval."""

    network: str
    latency_ms: float
    low_ms: float
    high_ms: float
    protocol: ProtocolRecord
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        return {
            "network": self.network,
            "method": "estimated",
            "latency_ms": self.latency_ms,
            "low_ms": self.low_ms,
            "high_ms": self.high_ms,
            "protocol": self.protocol.model_dump(),
            "source": self.source,
        }


class TablePlugin(Plugin):
    """A plugin that makes a table without running anything."""

    @abstractmethod
    def table(
        self, space: SearchSpace, config: NetworkConfig, options: PluginOptions, device: str
    ) -> Lut:
        """The table of `device` for `space`.

        Raises:
            UserError: if the source is missing or wrong.
        """

    def estimate_network(
        self, network: Path, options: PluginOptions, device: str
    ) -> NetworkEstimate:
        """What one exported ONNX network would take.

        Raises:
            UserError: if the plugin knows tables only, or the file is not to be read.
        """
        raise UserError(f"plugin {self.name} does not run networks")
