"""Fitting the model to published latencies, and the error on what it was not fitted to.

Logarithms of constants are fitted to logarithms of latencies, each pulled towards what one would
have assumed without any measurement (`PRIOR`), so that few data cannot carry a constant far. Every
piece of hardware has the same say, however many rows it has, and rows far off count less (Huber).
The same fit without one GPU, and without one network, tells the error on others.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from profilers.estimates.model import (
    Constants,
    KernelCounts,
    Machine,
    Rates,
    joined,
    kernel_ms,
)
from profilers.estimates.published import PublishedLatency

PRIOR: dict[str, tuple[float, float]] = {
    "tensor_share": (0.45, 0.4),
    "tensor_decline": (0.3, 0.4),
    "vector_share": (0.7, 0.3),
    "depthwise_share": (0.06, 0.7),
    "memory_share": (0.8, 0.15),
    "memory_decline": (0.1, 0.5),
    "overlap": (0.2, 0.7),
    "step_ns": (30.0, 0.5),
    "launch_us": (30.0, 0.5),
    "gap_us": (5.0, 0.7),
    "eager/fp32": (1.0, 0.3),
    "eager/fp16": (1.0, 0.3),
    "fused/fp32": (1.0, 0.3),
    "fused/fp16": (1.0, 0.3),
}
"""What is assumed of each constant, and how sure (standard deviation of its logarithm)."""
ROW_SPREAD = 0.3
"""Standard deviation of a row's logarithm around the model, against which the prior weighs."""
HARDWARE_ROWS = 8.0
"""Independent rows that all rows of one piece of hardware and class are worth together."""
HUBER = 1.5
ITERATIONS = 25
CPU_FACTOR_SPREAD = 0.5

Group = Literal["hardware", "network"]


def fit(rows: Sequence[PublishedLatency]) -> Constants:
    """The constants that explain `rows` best."""
    gpus = [row for row in rows if row.machine.hardware.kind == "gpu"]
    names = list(PRIOR)
    centre = np.log([PRIOR[name][0] for name in names])
    spread = np.array([PRIOR[name][1] for name in names])
    stacked = _Stacked.of(gpus)
    shares = Counter((row.hardware, row.runtime_class) for row in gpus)
    weight = np.array(
        [
            min(1.0, HARDWARE_ROWS / shares[row.hardware, row.runtime_class]) ** 0.5 / ROW_SPREAD
            for row in gpus
        ]
    )

    def residuals(x: np.ndarray) -> np.ndarray:
        return weight * stacked.errors(_constants(names, x))

    x = centre.copy()
    for _ in range(ITERATIONS):
        now = residuals(x)
        slopes = _jacobian(residuals, x, now)
        robust = np.minimum(1.0, HUBER / np.maximum(np.abs(now), 1e-12))
        normal = slopes.T @ (robust[:, None] * slopes) + np.diag(spread**-2)
        gradient = slopes.T @ (robust * now) + (x - centre) / spread**2
        step = np.linalg.solve(normal, -gradient)
        x = x + np.clip(step, -0.5, 0.5)
        if np.abs(step).max() < 1e-6:
            break
    constants = _constants(names, x)
    return constants.model_copy(
        update={"factors": constants.factors | {"cpu": _cpu_factor(rows, constants)}}
    )


def errors(rows: Sequence[PublishedLatency], constants: Constants) -> np.ndarray:
    """Logarithm of estimate over published latency, of each row."""
    return _Stacked.of(rows).errors(constants) if rows else np.zeros(0)


def left_out_errors(rows: Sequence[PublishedLatency], by: Group) -> np.ndarray:
    """`errors` of each row by a fit that saw nothing of its hardware, or of its network.

    CPUs are left out by hardware only where another one remains to fit to.
    """
    result = np.zeros(len(rows))
    groups = [getattr(row, by) for row in rows]
    for group in dict.fromkeys(groups):
        inside = np.array([name == group for name in groups])
        others = [row for row, held in zip(rows, inside, strict=True) if not held]
        held_out = [row for row, held in zip(rows, inside, strict=True) if held]
        result[inside] = errors(held_out, fit(others))
    return result


def _cpu_factor(rows: Sequence[PublishedLatency], constants: Constants) -> float:
    """The one constant of CPUs: the middle of their errors, pulled towards 1."""
    cpus = [row for row in rows if row.machine.hardware.kind == "cpu"]
    if not cpus:
        return 1.0
    means = [
        float(np.mean(errors([row for row in cpus if row.hardware == name], constants)))
        for name in sorted({row.hardware for row in cpus})
    ]
    # Hardware differs from hardware about as much as was assumed of the factor.
    pull = len(means) / (len(means) + 1.0)
    return float(np.exp(-pull * np.mean(means)))


def _constants(names: Sequence[str], x: np.ndarray) -> Constants:
    values = dict(zip(names, np.exp(x).tolist(), strict=True))
    factors = {name: values.pop(name) for name in names if "/" in name}
    return Constants(**values, factors=factors | {"cpu": 1.0})


def _jacobian(
    function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, now: np.ndarray
) -> np.ndarray:
    columns = []
    for index in range(len(x)):
        moved = x.copy()
        moved[index] += 1e-4
        columns.append((function(moved) - now) / 1e-4)
    return np.stack(columns, axis=1)


@dataclasses.dataclass(frozen=True, slots=True)
class _Stacked:
    """The kernels of all rows one below the other, to be timed in one go.

    Kernels of a row that are alike stand there once, with their number in `times`.
    """

    machines: Sequence[Machine]
    which: np.ndarray
    latency: np.ndarray
    launches: np.ndarray
    kernels: KernelCounts
    macs: np.ndarray
    times: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    batch: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[PublishedLatency]) -> _Stacked:
        machines = [row.machine for row in rows]
        different = list(dict.fromkeys(map(_machine_key, machines)))
        known = {_machine_key(machine): machine for machine in machines}
        alike = [row.kernels.merged() for row in rows]
        lengths = np.array([len(times) for _, times in alike])
        return cls(
            machines=[known[key] for key in different],
            which=np.array([different.index(_machine_key(machine)) for machine in machines]),
            latency=np.array([row.latency_ms for row in rows]),
            launches=np.array([times.sum() for _, times in alike]),
            kernels=KernelCounts(
                **{
                    field.name: np.concatenate([getattr(merged, field.name) for merged, _ in alike])
                    for field in dataclasses.fields(KernelCounts)
                }
            ),
            macs=np.concatenate(
                [machine.macs(merged) for machine, (merged, _) in zip(machines, alike, strict=True)]
            ),
            times=np.concatenate([times for _, times in alike]),
            starts=np.concatenate([[0], np.cumsum(lengths)[:-1]]),
            lengths=lengths,
            batch=np.repeat([row.batch_size for row in rows], lengths),
        )

    def errors(self, constants: Constants) -> np.ndarray:
        """Logarithm of estimate over published latency, of each row."""
        each = [machine.rates(constants) for machine in self.machines]
        host = np.array([machine.host_ms(constants) for machine in self.machines])
        of_kernel = np.repeat(self.which, self.lengths)
        rates = Rates(
            **{
                field.name: np.array([getattr(rate, field.name) for rate in each])[of_kernel]
                for field in dataclasses.fields(Rates)
            }
        )
        timed = kernel_ms(self.kernels, self.macs, self.batch, rates, constants.overlap)
        device = np.add.reduceat(timed * self.times, self.starts)
        total = joined(device, host[self.which] * self.launches)
        result: np.ndarray = np.log(total / self.latency)
        return result


def _machine_key(machine: Machine) -> tuple[str, str, str]:
    return machine.hardware.name, machine.dtype, machine.runtime
