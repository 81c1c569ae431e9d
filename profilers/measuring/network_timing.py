"""Timing one exported network with the care that a table gets.

The network is built and loaded twice (by two replicas of the session) and timed as two entries, in
interleaved rounds with the canary; what the two differ by is the noise of the result.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fofa.errors import UserError
from fofa.families import family_of
from fofa.latency import Lut, ProtocolRecord, Stability
from fofa.runtime.tensorrt import ENGINE_SUFFIXES
from fofa.space import (
    MOBILENETV3,
    Architecture,
    Family,
    NetworkConfig,
    parse_architecture,
)
from profilers.measuring.measurement import evaluate
from profilers.measuring.rounds import Instruments, run_rounds
from profilers.measuring.settings import MeasureSettings
from profilers.measuring.stability import judge
from profilers.measuring.statistics import noise_percent
from profilers.measuring.workload import Item, Workload, canary_item
from profilers.plugin import Session

CANARY_RESOLUTION = 160
METADATA_KEY = "architecture"
COMPARED = ("plugin", "runtime", "dtype", "batch_size", "threads")
COMPARED_OPTIONS = (
    *("l2", "cuda_graphs", "launch", "memory_format", "pinned", "binding", "spinning", "streams"),
)
"""Options of plugins that change a latency; compared where the plugin is the same."""


@dataclass(frozen=True, slots=True)
class NetworkTiming:
    """Measured latency of one network, and what a table predicts for it.

    Attributes:
        latency_ms: of a batch, at the median speed of the machine.
        mad_ms: median absolute deviation of the visits.
        noise_percent: difference between two separate loads of the same file.
        predicted_ms, error_percent: of the table; None without one. The error is signed: positive
            where the table says more than was measured.
        low_ms, high_ms: the table's interval (95% of networks); None if it has no error.
        differences: in how the table was measured, in words.
    """

    network: str
    latency_ms: float
    mad_ms: float
    samples: int
    noise_percent: float
    stability: Stability
    protocol: ProtocolRecord
    architecture: Architecture | None = None
    predicted_ms: float | None = None
    error_percent: float | None = None
    low_ms: float | None = None
    high_ms: float | None = None
    differences: tuple[str, ...] = ()

    @property
    def inside(self) -> bool | None:
        """Whether the table's interval holds what was measured; None without one."""
        if self.low_ms is None or self.high_ms is None:
            return None
        return self.low_ms <= self.latency_ms <= self.high_ms

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        return {
            "network": self.network,
            "architecture": self.architecture.name if self.architecture else None,
            "method": "measured",
            "latency_ms": self.latency_ms,
            "mad_ms": self.mad_ms,
            "samples": self.samples,
            "noise_percent": self.noise_percent,
            "predicted_ms": self.predicted_ms,
            "error_percent": self.error_percent,
            "low_ms": self.low_ms,
            "high_ms": self.high_ms,
            "inside": self.inside,
            "differences": list(self.differences),
            "stability": self.stability.model_dump(),
            "protocol": self.protocol.model_dump(),
        }


def time_network(
    session: Session,
    network: Path,
    settings: MeasureSettings,
    instruments: Instruments,
    *,
    lut: Lut | None = None,
    architecture: Architecture | None = None,
) -> NetworkTiming:
    """Time the network in the file `network` and compare it with `lut`.

    Args:
        architecture: what the file holds, if it is to be looked up in `lut`.

    Raises:
        UserError: if the file is no network of this runtime, or the table lacks a block of it.
    """
    _check_ends(network)
    predicted = lut.latency_ms(architecture) if lut and architecture else None
    interval = lut.interval_ms(architecture) if lut and architecture else None
    low_ms, high_ms = interval or (None, None)
    items = tuple(
        Item(name, "file", 0, (), file=network, replica=replica)
        for replica, name in enumerate(("network", "network again"))
    )
    workload = Workload(canary_item(CANARY_RESOLUTION, NetworkConfig()), items)
    plan, rounds = run_rounds(session, workload, settings, instruments)
    measurement = evaluate(plan, rounds, workload.canary.name, blocks=workload.blocks)
    first, second = (measurement.summaries[item.name] for item in items)
    latency = (first.median_ms + second.median_ms) / 2
    noise = noise_percent([(first.median_ms, second.median_ms)])
    return NetworkTiming(
        network=network.name,
        latency_ms=latency,
        mad_ms=max(first.mad_ms, second.mad_ms),
        samples=first.samples + second.samples,
        noise_percent=noise,
        stability=judge(measurement.used, measurement.drift, [first, second], noise),
        protocol=session.protocol,
        architecture=architecture,
        predicted_ms=predicted,
        error_percent=None if predicted is None else 100 * (predicted / latency - 1),
        low_ms=low_ms,
        high_ms=high_ms,
        differences=protocol_differences(lut, session.protocol) if lut else (),
    )


def protocol_differences(lut: Lut, protocol: ProtocolRecord) -> tuple[str, ...]:
    """In what the table was measured differently from now, in words."""
    before, now = lut.protocol.model_dump(), protocol.model_dump()
    names = COMPARED + (COMPARED_OPTIONS if before["plugin"] == now["plugin"] else ())
    return tuple(
        f"{name.replace('_', ' ')} {before.get(name)} in the table, {now.get(name)} now"
        for name in names
        if before.get(name) != now.get(name)
    )


def _check_ends(network: Path) -> None:
    """Refuse a network with a loop: how long it runs, or whether it ends, depends on what it
    computes, so that it has no latency. Files that are no ONNX are left to the runtime.

    Raises:
        UserError: naming the loop.
    """
    import onnx

    if network.suffix.lower() in ENGINE_SUFFIXES or not network.is_file():
        return
    try:
        model = onnx.load(network, load_external_data=False)
    except Exception:  # protobuf and the operating system each raise their own; so does loading
        return
    waiting = [*model.graph.node, *(node for f in model.functions for node in f.node)]
    while waiting:
        node = waiting.pop()
        if node.op_type == "Loop":
            raise UserError(
                f"{network}: has a loop ({node.name or node.op_type}), which has no latency of its "
                "own; only networks without one are timed"
            )
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                waiting += graph.node


def architecture_of(
    network: Path, named: str | None, family: Family | None = None
) -> Architecture | None:
    """The architecture called `named`, or else the one that the file says it holds.

    Exported networks carry their name as the metadata entry `architecture`, and their family as
    `family`; engines do not.

    Args:
        family: of the table that it is looked up in, if there is one.

    Raises:
        UserError: if the name is wrong, the file is of another family, or it cannot be read.
    """
    if named is not None:
        return parse_architecture(named, family or MOBILENETV3)
    if network.suffix.lower() in ENGINE_SUFFIXES:
        return None
    import onnx

    try:
        model = onnx.load(network, load_external_data=False)
    except Exception as error:  # protobuf and the operating system each raise their own
        raise UserError(f"{network}: no readable ONNX file: {error}") from None
    entries = {entry.key: entry.value for entry in model.metadata_props}
    if METADATA_KEY not in entries:
        return None
    try:
        own = family_of(json.loads(entries["family"])) if "family" in entries else MOBILENETV3
    except ValueError as error:
        raise UserError(f"{network}: its family cannot be read: {error}") from None
    if family not in (None, own):
        raise UserError(f"{network}: the network is of family {own}, the table of family {family}")
    return parse_architecture(entries[METADATA_KEY], own)
