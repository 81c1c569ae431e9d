"""How long kernels take on hardware of which only the data sheet is known.

The roofline model (Williams et al., 2009), kernel by kernel: the longer of computing and of moving
its data, and part of the shorter, as the two overlap only in part. No kernel reaches the peaks:
`Constants` holds the shares that are reached, fitted to published latencies (`fit.py`).

- The more a multiprocessor's tensor cores could compute, and the more the memory could deliver, the
  smaller the share of it that is reached (`*_decline`).
- A tile of a product goes through its sum step by step, however idle the rest of the GPU is
  (`step_ns`): what small batches are bound by on the device.
- A host launches kernels one after another. Where it is slower than the device (eager runtimes,
  small batches), the latency is its time, whatever the images. The two are joined smoothly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from pydantic import BaseModel, ConfigDict

from fofa.accuracy import Positive
from profilers.estimates.kernels import Kernel, RuntimeClass
from profilers.hardware.peak_rates import Dtype, Hardware

BYTES: dict[Dtype, int] = {"fp32": 4, "tf32": 4, "fp16": 2}
JOINT = 4
"""Exponent that joins host and device: the larger one, rounded off where they are equal."""
EMBEDDED_HOST = 2.0
"""How much longer a small CPU takes to launch a kernel."""
TENSOR_STEP = 0.5
"""Tensor cores go through a sum in longer steps."""
TENSOR_REFERENCE = 1.5
"""TFLOPS of a multiprocessor at which `tensor_share` holds."""
MEMORY_REFERENCE = 900.0
"""GB/s at which `memory_share` holds."""
HIGHEST_SHARE = 0.95
UNITS = ("dense", "depthwise", "pass")
CPU_DENSE_SHARE = 0.7
CPU_DEPTHWISE_SHARE = 0.4
CPU_MEMORY_SHARE = 0.1
"""What one core draws of the bandwidth that all of them share."""
CPU_SCALING = 0.7
"""Exponent of the threads: small networks give many cores too little to share out."""
CPU_GAP_S = 10e-6
"""Assumed, like the shares: there are too few published CPUs to fit more than a factor."""


class Constants(BaseModel):
    """What is fitted.

    `factors` multiply the device's time, by runtime class and type (`eager/fp16`; tf32 counts as
    fp32, whose bytes it moves; CPUs have one, `cpu`). `launch_us` is what the host needs for a
    kernel of an eager runtime, `gap_us` what the device loses between two kernels of a fused one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tensor_share: Positive
    tensor_decline: Positive
    vector_share: Positive
    depthwise_share: Positive
    memory_share: Positive
    memory_decline: Positive
    overlap: Positive
    step_ns: Positive
    launch_us: Positive
    gap_us: Positive
    factors: dict[str, Positive]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCounts:
    """Kernels as arrays of one row each, so that many are timed at once."""

    unit: np.ndarray
    macs: np.ndarray
    winograd_macs: np.ndarray
    moved: np.ndarray
    weights: np.ndarray
    depth: np.ndarray

    @classmethod
    def of(cls, kernels: Sequence[Kernel]) -> KernelCounts:
        """The counts of `kernels`."""

        def column(values: Sequence[int]) -> np.ndarray:
            return np.array(values, dtype=float)

        return cls(
            unit=np.array([UNITS.index(kernel.unit) for kernel in kernels]),
            macs=column([kernel.macs for kernel in kernels]),
            winograd_macs=column([kernel.winograd_macs for kernel in kernels]),
            moved=column([kernel.moved for kernel in kernels]),
            weights=column([kernel.weights for kernel in kernels]),
            depth=column([kernel.depth for kernel in kernels]),
        )

    def merged(self) -> tuple[KernelCounts, np.ndarray]:
        """Each different kernel once, and how often it comes."""
        names = [field.name for field in fields(self)]
        table = np.stack([getattr(self, name) for name in names], axis=1)
        unique, times = np.unique(table, axis=0, return_counts=True)
        return KernelCounts(**dict(zip(names, unique.T, strict=True))), times


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a machine reaches: operations and bytes a second, seconds for a step and a gap.

    Numbers, or arrays with a row for each kernel.
    """

    dense: float | np.ndarray
    depthwise: float | np.ndarray
    memory: float | np.ndarray
    bytes_each: float | np.ndarray
    step: float | np.ndarray
    gap: float | np.ndarray
    factor: float | np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Hardware, type and runtime class: all that a kernel's time depends on besides the kernel.

    Attributes:
        dtype: of values in memory.
        tf32: whether `fp32` products are computed in TF32 where the hardware has it, as PyTorch's
            convolutions and TensorRT are unless asked otherwise.
        threads: of a CPU; 1 for a GPU.
    """

    hardware: Hardware
    dtype: Dtype
    runtime: RuntimeClass
    tf32: bool = True
    threads: int = 1

    @property
    def product_dtype(self) -> Dtype:
        """The type that products are computed in."""
        if self.dtype == "fp32" and self.tf32 and "tf32" in self.hardware.matrix_tflops:
            return "tf32"
        return self.dtype

    @property
    def factor_name(self) -> str:
        """Which of the constants' factors applies."""
        if self.hardware.kind == "cpu":
            return "cpu"
        return f"{self.runtime}/{'fp16' if self.dtype == 'fp16' else 'fp32'}"

    def macs(self, kernels: KernelCounts) -> np.ndarray:
        """Multiply-adds that are left to do: 3x3 windows have a fast algorithm in fp32."""
        return kernels.winograd_macs if self.product_dtype == "fp32" else kernels.macs

    def rates(self, constants: Constants) -> Rates:
        """What is reached of the data sheet."""
        hardware = self.hardware
        # TF32 is a way of multiplying; everything else of such a network is in fp32.
        vector = 1e12 * hardware.vector_tflops["fp32" if self.dtype == "tf32" else self.dtype]
        dense = 1e12 * hardware.matrix_tflops[self.product_dtype]
        memory = 1e9 * hardware.memory_gb_per_s
        factor = constants.factors[self.factor_name]
        size = BYTES[self.dtype]
        if hardware.kind == "cpu":
            return Rates(
                dense=dense * CPU_DENSE_SHARE * self.threads**CPU_SCALING,
                depthwise=vector * CPU_DEPTHWISE_SHARE * self.threads**CPU_SCALING,
                memory=memory * min(1.0, CPU_MEMORY_SHARE * self.threads),
                bytes_each=size,
                step=0.0,
                gap=CPU_GAP_S,
                factor=factor,
            )
        return Rates(
            dense=dense * self._dense_share(constants),
            depthwise=vector * constants.depthwise_share,
            memory=memory * self._memory_share(constants),
            bytes_each=size,
            step=1e-9 * constants.step_ns * (TENSOR_STEP if self._tensor_cores else 1.0),
            gap=1e-6 * constants.gap_us if self.runtime == "fused" else 0.0,
            factor=factor,
        )

    def device_ms(
        self, kernels: KernelCounts, batch_size: float, constants: Constants
    ) -> np.ndarray:
        """Milliseconds of each kernel for the whole batch, on the device."""
        rates = self.rates(constants)
        return kernel_ms(kernels, self.macs(kernels), batch_size, rates, constants.overlap)

    def host_ms(self, constants: Constants) -> float:
        """Milliseconds that the host needs for a kernel; 0 where it holds nothing up."""
        if self.runtime == "fused" or self.hardware.kind == "cpu":
            return 0.0
        slower = EMBEDDED_HOST if self.hardware.embedded else 1.0
        return 1e-3 * constants.launch_us * slower

    @property
    def _tensor_cores(self) -> bool:
        """Whether products are computed by them: faster than, or apart from, everything else."""
        rates, product = self.hardware, self.product_dtype
        return rates.matrix_tflops[product] > rates.vector_tflops.get(product, 0.0)

    def _dense_share(self, constants: Constants) -> float:
        hardware, product = self.hardware, self.product_dtype
        if not self._tensor_cores:
            return constants.vector_share
        doubled = 2.0 if hardware.half_rate_sums else 1.0
        each = doubled * hardware.matrix_tflops[product] / hardware.multiprocessors
        decline = (each / TENSOR_REFERENCE) ** -constants.tensor_decline
        return min(HIGHEST_SHARE, doubled * constants.tensor_share * decline)

    def _memory_share(self, constants: Constants) -> float:
        decline = (self.hardware.memory_gb_per_s / MEMORY_REFERENCE) ** -constants.memory_decline
        return min(HIGHEST_SHARE, constants.memory_share * decline)


def kernel_ms(
    kernels: KernelCounts,
    macs: np.ndarray,
    batch_size: float | np.ndarray,
    rates: Rates,
    overlap: float,
) -> np.ndarray:
    """Milliseconds of each kernel for a batch, at the rates that are reached."""
    dense = kernels.unit == UNITS.index("dense")
    work = 2 * np.where(dense, macs, kernels.macs) * batch_size
    compute = work / np.where(dense, rates.dense, rates.depthwise)
    moved = (kernels.moved * batch_size + kernels.weights) * rates.bytes_each
    memory = moved / rates.memory
    longer, shorter = np.maximum(compute, memory), np.minimum(compute, memory)
    steps = np.where(dense, kernels.depth, 0.0) * rates.step
    milliseconds: np.ndarray = 1e3 * rates.factor * (longer + overlap * shorter + steps + rates.gap)
    return milliseconds


def joined(device_ms: np.ndarray, host_ms: np.ndarray) -> np.ndarray:
    """Milliseconds of networks whose kernels take these in sum on the device and on the host."""
    total: np.ndarray = (device_ms**JOINT + host_ms**JOINT) ** (1 / JOINT)
    return total


def host_bound(device_ms: float, host_ms: float) -> float:
    """How much of the latency depends on the host, 0 to 1: its elasticity."""
    return float(host_ms**JOINT / (host_ms**JOINT + device_ms**JOINT))
