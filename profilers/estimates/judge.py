"""How far estimates are off on hardware and networks that the model was not fitted to.

Everything is in logarithms of estimate over published latency, so that half and double weigh the
same. An estimate's spread has two parts: the device's, of its runtime class, and the host's, each
weighed by how much of the latency depends on it. Hardware has the same say, however many rows there
are of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy import stats

from fofa.accuracy import NonNegative, Positive
from profilers.estimates.fit import errors, fit, left_out_errors
from profilers.estimates.kernels import RUNTIME_CLASSES, RuntimeClass
from profilers.estimates.model import Constants, host_bound
from profilers.estimates.published import PublishedLatency

CONFIDENCE = 0.9
HOST_SPREAD = 0.55
HOST_SPREAD_WEIGHT = 6.0
"""Hosts that nobody published are assumed to differ by this much, which counts as that many hosts
seen: all published figures in which the host matters are of the years 2017 to 2021."""
CPU_SPREAD = 0.6
"""Assumed; one published CPU says nothing about others."""
CPU_QUANTILE = 1.8


class Spread(BaseModel):
    """Standard deviations of the logarithm of an estimate, and how many of them an interval takes.

    Attributes:
        device: by runtime class; `cpu` for CPUs.
        quantile: of Student's t for the number of GPUs behind it, by the same names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: dict[str, Positive]
    quantile: dict[str, Positive]
    host: Positive

    def half_width(self, name: str, host_share: float) -> float:
        """Half the interval's width, in the logarithm; `host_share` is that of `host_bound`."""
        parts = host_share * self.host, (1 - host_share) * self.device[name]
        return self.quantile[name] * float(np.hypot(*parts))


class Errors(BaseModel):
    """Percentages over published latencies that the fit did not see; bias is the median's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mape_percent: NonNegative
    max_percent: NonNegative
    bias_percent: float
    within_10_percent: float
    within_5_percent: float
    inside_interval_percent: float


class Judgement(BaseModel):
    """What is known about the estimates of one runtime class and type (or of CPUs).

    Attributes:
        left_out_hardware, left_out_network: errors of fits that saw nothing of the row's hardware,
            or of its network. The interval that `inside_interval_percent` counts saw none either.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    measurements: int = Field(ge=1)
    hardware: list[str]
    networks: int = Field(ge=1)
    factor: Positive
    left_out_hardware: Errors
    left_out_network: Errors


def judged(
    rows: Sequence[PublishedLatency],
) -> tuple[Constants, Spread, dict[str, Judgement]]:
    """The fit to all rows, the spread of its estimates, and what is known of each kind."""
    constants = fit(rows)
    seen = errors(rows, constants)
    by_hardware, by_network = left_out_errors(rows, "hardware"), left_out_errors(rows, "network")
    more = _network_excess(rows, seen, by_network)
    spread = spread_of(rows, by_hardware, constants, more)
    judgements = {}
    for name in sorted({row.machine.factor_name for row in rows}):
        inside = [i for i, row in enumerate(rows) if row.machine.factor_name == name]
        chosen = [rows[i] for i in inside]
        judgements[name] = Judgement(
            measurements=len(inside),
            hardware=sorted({row.hardware for row in chosen}),
            networks=len({row.network for row in chosen}),
            factor=round(constants.factors[name], 4),
            left_out_hardware=_summary(rows, by_hardware, inside, constants, more),
            left_out_network=_summary(rows, by_network, inside, constants, more),
        )
    return constants, spread, judgements


def spread_of(
    rows: Sequence[PublishedLatency],
    left_out: np.ndarray,
    constants: Constants,
    network_excess: dict[str, float],
) -> Spread:
    """The spread that errors on left-out hardware show, with what new networks add."""
    host = np.array([host_share(row, constants) for row in rows])
    device, quantile = {"cpu": CPU_SPREAD}, {"cpu": CPU_QUANTILE}
    for name in RUNTIME_CLASSES:
        of_class = _of_class(rows, name)
        weight = np.where(of_class, (1 - host) ** 2, 0.0) * _equal_say(rows, of_class)
        variance = float((weight * left_out**2).sum() / weight.sum()) + network_excess[name]
        count = len({row.hardware for row, chosen in zip(rows, of_class, strict=True) if chosen})
        device[name] = round(variance**0.5, 4)
        wide = stats.t.ppf(0.5 + CONFIDENCE / 2, max(1, count - 1)) * (1 + 1 / count) ** 0.5
        quantile[name] = round(float(wide), 4)
    bound = _of_class(rows, "eager") & (host > 0.5)
    hosts = len({row.hardware for row, chosen in zip(rows, bound, strict=True) if chosen})
    weight = np.where(bound, host**2, 0.0) * _equal_say(rows, bound)
    seen = float((weight * left_out**2).sum() / weight.sum()) if hosts else 0.0
    assumed = HOST_SPREAD_WEIGHT * HOST_SPREAD**2
    variance = (hosts * seen + assumed) / (hosts + HOST_SPREAD_WEIGHT)
    return Spread(device=device, quantile=quantile, host=round(variance**0.5, 4))


def host_share(row: PublishedLatency, constants: Constants) -> float:
    """How much of a published latency depends on the host, as the model has it."""
    machine, kernels = row.machine, row.kernels
    device = float(machine.device_ms(kernels, row.batch_size, constants).sum())
    return host_bound(device, machine.host_ms(constants) * len(kernels.unit))


def spread_name(row: PublishedLatency) -> str:
    """The name of the spread that holds for a row."""
    return "cpu" if row.machine.hardware.kind == "cpu" else row.runtime_class


def _summary(
    rows: Sequence[PublishedLatency],
    left_out: np.ndarray,
    inside: Sequence[int],
    constants: Constants,
    network_excess: dict[str, float],
) -> Errors:
    found = left_out[list(inside)]
    percent = 100 * np.abs(np.expm1(found))
    covered = 0
    for i in inside:
        others = [j for j, row in enumerate(rows) if row.hardware != rows[i].hardware]
        spread = spread_of([rows[j] for j in others], left_out[others], constants, network_excess)
        width = spread.half_width(spread_name(rows[i]), host_share(rows[i], constants))
        covered += abs(left_out[i]) <= width
    return Errors(
        mape_percent=round(float(percent.mean()), 2),
        max_percent=round(float(percent.max()), 2),
        bias_percent=round(100 * float(np.expm1(np.median(found))), 2),
        within_5_percent=round(100 * float((percent <= 5).mean()), 2),
        within_10_percent=round(100 * float((percent <= 10).mean()), 2),
        inside_interval_percent=round(100 * covered / len(inside), 2),
    )


def _network_excess(
    rows: Sequence[PublishedLatency], seen: np.ndarray, left_out: np.ndarray
) -> dict[str, float]:
    """By how much a network that the fit did not see raises the variance, by runtime class."""
    excess: dict[str, float] = {}
    for name in RUNTIME_CLASSES:
        of_class = _of_class(rows, name)
        more = float(np.mean(left_out[of_class] ** 2) - np.mean(seen[of_class] ** 2))
        excess[name] = max(0.0, more)
    return excess


def _of_class(rows: Sequence[PublishedLatency], name: RuntimeClass) -> np.ndarray:
    return np.array([spread_name(row) == name for row in rows])


def _equal_say(rows: Sequence[PublishedLatency], chosen: np.ndarray) -> np.ndarray:
    """Weights that give each piece of hardware the same, over the chosen rows."""
    counts = Counter(row.hardware for row, one in zip(rows, chosen, strict=True) if one)
    return np.array(
        [1 / counts[row.hardware] if one else 0.0 for row, one in zip(rows, chosen, strict=True)]
    )
