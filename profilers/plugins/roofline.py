"""Estimates for hardware that one does not have, from its published peak rates.

The roofline model (Williams et al., 2009) kernel by kernel: a kernel takes the longer of computing
and of moving its data, plus the cost of launching it. No kernel reaches the peaks; `EFFICIENCY`
holds the shares assumed here. They are round numbers for small-channel networks, not fitted to any
measurement, and the data moved is counted as if no cache kept anything between kernels. So an
estimate orders networks by size sensibly, and its absolute milliseconds can be off by a factor of
two: the table says `estimated`, and everything that uses it repeats that.
"""

from __future__ import annotations

from dataclasses import dataclass

from fofa.accuracy import SpaceRecord
from fofa.errors import UserError
from fofa.latency import DeviceRecord, Lut, LutEntry, ProtocolRecord
from fofa.space import BlockSpec, NetworkConfig, SearchSpace
from profilers.hardware.kernels import Kernel, block_kernels
from profilers.hardware.peak_rates import Dtype, Hardware, find_hardware
from profilers.plugin import Availability, PluginOptions, TablePlugin

BYTES = {"fp32": 4, "fp16": 2}
DEFAULT_BATCH_SIZE = {"gpu": 64, "cpu": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """Assumed shares of the published peaks, and the cost of a launch.

    The memory share of a CPU is what one core draws of the bandwidth that all of them share.
    """

    matrix: float
    vector: float
    memory: float
    launch_us: float


EFFICIENCY = {
    "gpu": Efficiency(matrix=0.4, vector=0.4, memory=0.75, launch_us=3.0),
    "cpu": Efficiency(matrix=0.7, vector=0.4, memory=0.1, launch_us=1.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """The model of one piece of hardware with fixed options; rates are per second."""

    hardware: Hardware
    dtype: Dtype
    batch_size: int
    threads: int

    def kernel_ms(self, kernel: Kernel) -> float:
        """Milliseconds of one launch for the whole batch."""
        efficiency = EFFICIENCY[self.hardware.kind]
        if kernel.unit == "matrix":
            tflops = self.hardware.matrix_tflops[self.dtype] * efficiency.matrix
        else:
            tflops = self.hardware.vector_tflops[self.dtype] * efficiency.vector
        share = min(1.0, efficiency.memory * self.threads)
        moved = (kernel.activations * self.batch_size + kernel.weights) * BYTES[self.dtype]
        compute_s = 2 * kernel.macs * self.batch_size / (tflops * 1e12 * self.threads)
        memory_s = moved / (self.hardware.memory_gb_per_s * 1e9 * share)
        return 1e3 * max(compute_s, memory_s) + 1e-3 * efficiency.launch_us

    def block_ms(self, block: BlockSpec) -> float:
        """Milliseconds of a block for the whole batch."""
        return sum(self.kernel_ms(kernel) for kernel in block_kernels(block))

    def protocol(self) -> ProtocolRecord:
        """The options with every figure that went into the estimate."""
        efficiency = EFFICIENCY[self.hardware.kind]
        return ProtocolRecord(
            plugin=RooflinePlugin.name,
            runtime="roofline model",
            dtype=self.dtype,
            batch_size=self.batch_size,
            threads=self.threads if self.hardware.kind == "cpu" else None,
            hardware=self.hardware.product,
            matrix_tflops=self.hardware.matrix_tflops[self.dtype],
            vector_tflops=self.hardware.vector_tflops[self.dtype],
            memory_gb_per_s=self.hardware.memory_gb_per_s,
            matrix_efficiency=efficiency.matrix,
            vector_efficiency=efficiency.vector,
            memory_efficiency=efficiency.memory,
            launch_us=efficiency.launch_us,
        )


class RooflinePlugin(TablePlugin):
    """Estimates a table; nothing is run."""

    name = "roofline"
    summary = "estimates from published peak rates (--source HARDWARE)"
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
        model = _model(options, device)
        hardware = model.hardware
        return Lut(
            device=DeviceRecord(requested=device, measured_on={}, matches=None),
            method="estimated",
            protocol=model.protocol(),
            space=SpaceRecord.of(space),
            entries=[
                LutEntry.of(block, model.block_ms(block), resolution=resolution)
                for resolution in space.resolutions
                for block in space.unique_blocks(resolution, config)
            ],
            source=f"estimated for {hardware.product} from: {hardware.source}; nothing was run",
        )


def _model(options: PluginOptions, device: str) -> Roofline:
    if options.extra:
        raise UserError(f"roofline: unknown options {', '.join(sorted(options.extra))}")
    hardware = find_hardware(options.source or device)
    batch_size, threads = options.batch_size, options.threads
    batch_size = DEFAULT_BATCH_SIZE[hardware.kind] if batch_size is None else batch_size
    threads = 1 if threads is None else threads
    if batch_size < 1 or not 1 <= threads <= hardware.cores:
        raise UserError(
            f"roofline: batch size {batch_size} and {threads} threads; {hardware.product} takes "
            f"1 or more and at most {hardware.cores}"
        )
    return Roofline(
        hardware=hardware,
        dtype=hardware.check_dtype(options.dtype or "fp32"),
        batch_size=batch_size,
        threads=threads,
    )


PLUGIN = RooflinePlugin()
