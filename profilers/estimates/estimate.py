"""From kernels to milliseconds with an interval: what the plugin `roofline` says."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fofa.validation import EstimateError, Validation
from profilers.estimates.calibration import RooflineCalibration
from profilers.estimates.kernels import lower
from profilers.estimates.model import JOINT, KernelCounts, Machine, host_bound, joined
from profilers.estimates.operators import OperatorGraph


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What kernels take in sum, in milliseconds of a batch: on the device, and of the host."""

    device_ms: float
    host_ms: float

    def __add__(self, other: Load) -> Load:
        return Load(
            device_ms=self.device_ms + other.device_ms, host_ms=self.host_ms + other.host_ms
        )

    @property
    def latency_ms(self) -> float:
        """Of a network that is these kernels."""
        return float(joined(np.array(self.device_ms), np.array(self.host_ms)))

    @property
    def slopes(self) -> tuple[float, float]:
        """By how much the latency grows with the device's and with the host's milliseconds."""
        return tuple(
            (part / self.latency_ms) ** (JOINT - 1) for part in (self.device_ms, self.host_ms)
        )  # type: ignore[return-value]

    def part_of(self, network: Load) -> float:
        """Milliseconds that these kernels add to a network like `network`.

        The latency is not a sum, but near `network` it is one: the parts of all its kernels add up
        to its latency exactly, and those of a network that is somewhat larger nearly.
        """
        device, host = network.slopes
        return device * self.device_ms + host * self.host_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """The calibrated model of one machine with one batch size."""

    machine: Machine
    batch_size: int
    calibration: RooflineCalibration

    def load(self, graph: OperatorGraph) -> Load:
        """What the kernels of `graph` take in sum."""
        kernels = lower(graph, self.machine.runtime)
        constants = self.calibration.constants
        device = self.machine.device_ms(KernelCounts.of(kernels), self.batch_size, constants)
        return Load(
            device_ms=float(device.sum()),
            host_ms=self.machine.host_ms(constants) * len(kernels),
        )

    def interval_factor(self, load: Load) -> float:
        """What an estimate is multiplied by, and divided by, for the ends of its 90% interval."""
        name = "cpu" if self.machine.hardware.kind == "cpu" else self.machine.runtime
        share = host_bound(load.device_ms, load.host_ms)
        return math.exp(self.calibration.spread.half_width(name, share))

    def validation(self, interval_factor: float) -> Validation:
        """What is known of the error of such estimates, as a table states it."""
        name = self.machine.factor_name
        judgement = self.calibration.judgements[name]
        errors = judgement.left_out_hardware
        return Validation(
            networks=judgement.networks,
            mape_percent=errors.mape_percent,
            max_percent=errors.max_percent,
            within_5_percent=errors.within_5_percent,
            within_10_percent=errors.within_10_percent,
            kendall_tau=None,
            noise_percent=0.0,
            estimate=EstimateError(
                runtime_class=self.machine.runtime,
                factor=judgement.factor,
                measurements=judgement.measurements,
                hardware=judgement.hardware,
                bias_percent=errors.bias_percent,
                low_factor=round(1 / interval_factor, 4),
                high_factor=round(interval_factor, 4),
                inside_interval_percent=errors.inside_interval_percent,
            ),
        )
