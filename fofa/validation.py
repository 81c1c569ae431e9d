"""What a latency table says of its own error: the records, and the bounds that follow from them.

An error is known of whole networks that took no part in making the table. It is stated twice: of
networks timed in the same session as the table's blocks, and of networks timed by another process
some time later, which is what somebody meets who uses the table. How far a single network may be
from its prediction is a Student's t distribution, whose scale is kept as deviations of the table's
entries (`fofa.latency.LutEntry.deviation_ms`) and whose degrees of freedom are here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fofa.errors import UserError

Margin = Literal["none", "90", "95", "noise"]
"""How sure a limit is kept: of one network, drift included. `noise` is another word for 95."""
MARGIN_LEVELS: dict[Margin, float] = {"90": 0.90, "95": 0.95, "noise": 0.95}
INTERVAL = 0.95
"""Share of networks that the intervals in outputs are to hold, both ends together."""
NORMAL_MEAN = math.sqrt(2 / math.pi)
"""Mean size of a normal error, in standard deviations."""
DRIFT_SPREAD = 2 * NormalDist().inv_cdf(0.95)
"""The spread from the 5th to the 95th percentile, in standard deviations."""
ESTIMATE_LEVEL = 0.95
"""One-sided: an estimate's factors are the ends of its 90% interval."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=100)]
Tau = Annotated[float, Field(ge=-1, le=1)]


class EstimateError(BaseModel):
    """What is known of the error of an estimated table: nobody has measured this hardware for it.

    The percentages of the `Validation` that holds it are over published latencies of the same
    runtime class and type, each estimated without any measurement of its own hardware.

    Attributes:
        factor: what the model's time was multiplied by to agree with the published ones.
        bias_percent: by how much the estimates are too high in the middle.
        low_factor, high_factor: times an estimate, the ends of its 90% interval.
        inside_interval_percent: how many of the published ones lay inside.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["leave-one-hardware-out"] = "leave-one-hardware-out"
    runtime_class: str
    factor: Positive
    measurements: Annotated[int, Field(ge=1)]
    hardware: list[str]
    bias_percent: Finite
    low_factor: Positive
    high_factor: Positive
    inside_interval_percent: Share


class SessionErrors(BaseModel):
    """Errors on whole networks that were timed in one session, in percent of the measured time.

    Attributes:
        bias_percent: mean signed error by resolution, positive where the table says too much.
        slower_90_percent, slower_95_percent: this share of the networks took at most so much
            longer than predicted (negative: they were all faster).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    networks: Annotated[int, Field(ge=1)]
    bias_percent: dict[str, Finite]
    slower_90_percent: Finite
    slower_95_percent: Finite
    mape_percent: NonNegative
    max_percent: NonNegative
    within_5_percent: Share
    within_10_percent: Share
    kendall_tau: Tau | None


class Uncertainty(BaseModel):
    """What the deviations of the entries are made of: standard deviations of one network's error.

    Attributes:
        session_percent: of a session's speed, from the sessions that were measured and from what
            is assumed of sessions before any is.
        moment_percent: of the machine's speed from one moment to the next, within a session.
        network_percent: what single networks deviate by beyond both.
        degrees_of_freedom: of the whole (Welch and Satterthwaite).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    session_percent: NonNegative
    moment_percent: NonNegative
    network_percent: NonNegative
    degrees_of_freedom: Positive


class Validation(BaseModel):
    """Error of the table on whole networks that calibration never saw. Percentages.

    The plain fields are of the other session where there was one, else of the table's own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    networks: Annotated[int, Field(ge=1)]
    mape_percent: NonNegative
    max_percent: NonNegative
    within_5_percent: Share
    within_10_percent: Share
    kendall_tau: Tau | None
    noise_percent: NonNegative
    estimate: EstimateError | None = None
    within_session: SessionErrors | None = None
    between_sessions: SessionErrors | None = None
    uncertainty: Uncertainty | None = None

    @classmethod
    def of_sessions(
        cls,
        within: SessionErrors,
        between: SessionErrors | None,
        *,
        noise_percent: float,
        uncertainty: Uncertainty,
    ) -> Validation:
        """The record of a table whose error was measured in one or more sessions."""
        errors = between or within
        return cls(
            networks=errors.networks,
            mape_percent=errors.mape_percent,
            max_percent=errors.max_percent,
            within_5_percent=errors.within_5_percent,
            within_10_percent=errors.within_10_percent,
            kendall_tau=errors.kendall_tau,
            noise_percent=noise_percent,
            within_session=within,
            between_sessions=between,
            uncertainty=uncertainty,
        )


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of what a network may take: `factor * latency + deviations * its deviation`.

    Both the latency and the deviation are sums over blocks, so the bound is one, too.
    """

    factor: float
    deviations: float = 0.0


def bound(validation: Validation, level: float, drift_percent: float | None) -> Bound:
    """What a share `level` (0 to 1) of networks stay below.

    Of an estimate it follows from its interval. A table of before sessions were measured has its
    mean error and its noise; the machine's drift within its session is put beside them.
    """
    if (estimate := validation.estimate) is not None:
        end = estimate.high_factor if level >= 0.5 else 1 / estimate.low_factor
        ratio = NormalDist().inv_cdf(level) / NormalDist().inv_cdf(ESTIMATE_LEVEL)
        return Bound(end**ratio)
    if (known := validation.uncertainty) is not None:
        return Bound(1.0, student_quantile(level, known.degrees_of_freedom))
    error = max(validation.mape_percent, validation.noise_percent) / NORMAL_MEAN
    deviation = math.hypot(error, (drift_percent or 0.0) / DRIFT_SPREAD) / 100
    return Bound(math.exp(NormalDist().inv_cdf(level) * deviation))


def student_quantile(level: float, degrees_of_freedom: float) -> float:
    """The quantile of Student's t distribution."""
    from scipy.special import stdtrit  # 50 ms that only a bound needs

    return float(stdtrit(degrees_of_freedom, level))


def margin_of(name: str) -> Margin:
    """The margin called `name`.

    Raises:
        UserError: if there is none.
    """
    match name:
        case "none" | "90" | "95" | "noise":
            return name
    raise UserError(f"--margin {name!r}: expected none, 90, 95 or noise (which is 95)")
