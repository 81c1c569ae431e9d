"""Estimates for hardware that one does not have, from its data sheet and published measurements.

The model is `profilers.estimates`: networks as kernels, kernels as the longer of computing and
moving data, and the host that launches them, calibrated with published latencies. An estimate says
so and carries a 90% interval; a table also the error on hardware that the calibration did not see.

Options: `runtime=eager|fused`, eager on a GPU unless chosen, because the paper's Table 4 was
measured with PyTorch; `tf32=on|off`, whether fp32 products may use TF32 where there is such
hardware, as PyTorch's convolutions and TensorRT do by themselves; `resolution=SIDE` for a network
file that leaves it free.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fofa.accuracy import SpaceRecord
from fofa.errors import UserError
from fofa.latency import DeviceRecord, Lut, LutEntry, ProtocolRecord
from fofa.space import NetworkConfig, SearchSpace
from profilers.estimates.calibration import calibration
from profilers.estimates.estimate import Estimator, Load
from profilers.estimates.kernels import RUNTIME_CLASSES, RuntimeClass
from profilers.estimates.model import Machine
from profilers.estimates.networks import block_operators
from profilers.estimates.onnx_operators import read_network
from profilers.hardware.peak_rates import Hardware, find_hardware
from profilers.measuring.workload import canary_item
from profilers.plugin import Availability, NetworkEstimate, PluginOptions, TablePlugin

DEFAULT_BATCH_SIZE = {"gpu": 64, "cpu": 1}
DEFAULT_RUNTIME: dict[str, RuntimeClass] = {"gpu": "eager", "cpu": "fused"}
TABLE_OPTIONS = frozenset({"runtime", "tf32"})


class RooflinePlugin(TablePlugin):
    """Estimates tables and networks; nothing is run."""

    name = "roofline"
    summary = "estimates from data sheets and published latencies (--source HARDWARE)"
    method = "estimated"

    def availability(self) -> Availability:
        return Availability(True)

    def table(
        self, space: SearchSpace, config: NetworkConfig, options: PluginOptions, device: str
    ) -> Lut:
        """The estimated table of `options.source`, or of the hardware that `device` stands for.

        Raises:
            UserError: if there are no figures for it, or an option is not possible.
        """
        estimator = _estimator(options, device, TABLE_OPTIONS)
        hardware = estimator.machine.hardware
        entries, factors = [], []
        for resolution in space.resolutions:
            middle = _middle(estimator, resolution, config)
            factors.append(estimator.interval_factor(middle))
            for block in space.unique_blocks(resolution, config):
                share = estimator.load(block_operators(block)).part_of(middle)
                entries.append(LutEntry.of(block, share, resolution=resolution))
        return Lut(
            device=DeviceRecord(requested=device, measured_on={}, matches=None),
            method="estimated",
            protocol=_protocol(estimator),
            space=SpaceRecord.of(space),
            entries=entries,
            validation=estimator.validation(max(factors)),
            source=_source(hardware),
        )

    def estimate_network(
        self, network: Path, options: PluginOptions, device: str
    ) -> NetworkEstimate:
        """What the network in an ONNX file would take."""
        estimator = _estimator(options, device, TABLE_OPTIONS | {"resolution"})
        load = estimator.load(read_network(network, _resolution(options.extra)))
        factor = estimator.interval_factor(load)
        return NetworkEstimate(
            network=network.name,
            latency_ms=load.latency_ms,
            low_ms=load.latency_ms / factor,
            high_ms=load.latency_ms * factor,
            protocol=_protocol(estimator),
            source=_source(estimator.machine.hardware),
        )


def _middle(estimator: Estimator, resolution: int, config: NetworkConfig) -> Load:
    """Of the network that a table's entries add up to exactly: 33333, of MobileNetV3."""
    blocks = canary_item(resolution, config).blocks
    loads = [estimator.load(block_operators(block)) for block in blocks]
    return sum(loads[1:], start=loads[0])


def _estimator(options: PluginOptions, device: str, known: frozenset[str]) -> Estimator:
    if unknown := sorted(options.extra.keys() - known):
        raise UserError(
            f"roofline: unknown options {', '.join(unknown)}; known: {', '.join(sorted(known))}"
        )
    hardware = find_hardware(options.source or device)
    batch_size, threads = options.batch_size, options.threads
    batch_size = DEFAULT_BATCH_SIZE[hardware.kind] if batch_size is None else batch_size
    threads = 1 if threads is None else threads
    if batch_size < 1 or not 1 <= threads <= hardware.cores:
        raise UserError(
            f"roofline: batch size {batch_size} and {threads} threads; {hardware.product} takes "
            f"1 or more and at most {hardware.cores}"
        )
    return Estimator(
        machine=Machine(
            hardware=hardware,
            dtype=hardware.check_dtype(options.dtype or "fp32"),
            runtime=_runtime(options.extra, hardware),
            tf32=_tf32(options.extra),
            threads=threads,
        ),
        batch_size=batch_size,
        calibration=calibration(),
    )


def _runtime(extra: Mapping[str, str], hardware: Hardware) -> RuntimeClass:
    asked = extra.get("runtime", DEFAULT_RUNTIME[hardware.kind])
    for runtime in RUNTIME_CLASSES:
        if runtime == asked:
            return runtime
    raise UserError(f"roofline: runtime {asked!r}, expected {' or '.join(RUNTIME_CLASSES)}")


def _tf32(extra: Mapping[str, str]) -> bool:
    asked = extra.get("tf32", "on")
    if asked not in ("on", "off"):
        raise UserError(f"roofline: tf32 {asked!r}, expected on or off")
    return asked == "on"


def _resolution(extra: Mapping[str, str]) -> int | None:
    asked = extra.get("resolution")
    if asked is None:
        return None
    if not asked.isascii() or not asked.isdigit() or not 1 <= int(asked) <= 4096:
        raise UserError(f"roofline: resolution {asked!r}, expected a number of pixels up to 4096")
    return int(asked)


def _protocol(estimator: Estimator) -> ProtocolRecord:
    """The options with every figure of the hardware that went into the estimate."""
    machine = estimator.machine
    hardware, constants = machine.hardware, estimator.calibration.constants
    return ProtocolRecord(
        plugin=RooflinePlugin.name,
        runtime=f"roofline model, {machine.runtime} runtime",
        dtype=machine.dtype,
        batch_size=estimator.batch_size,
        threads=machine.threads if hardware.kind == "cpu" else None,
        runtime_class=machine.runtime,
        product_dtype=machine.product_dtype,
        hardware=hardware.product,
        matrix_tflops=hardware.matrix_tflops[machine.product_dtype],
        vector_tflops=hardware.vector_tflops["fp32" if machine.dtype == "tf32" else machine.dtype],
        memory_gb_per_s=hardware.memory_gb_per_s,
        factor=constants.factors[machine.factor_name],
    )


def _source(hardware: Hardware) -> str:
    return (
        f"estimated for {hardware.product} from: {hardware.source}; calibrated with published "
        "latencies of other networks and hardware; nothing was run"
    )


PLUGIN = RooflinePlugin()
