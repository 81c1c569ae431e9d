"""How far a table is off, and how far a single network may be: errors within and between sessions.

What somebody meets who uses a table is another session: another process, on a machine whose speed
is not today's, timing one network in a loop. With the times of other sessions at hand the error of
one network is taken apart, in relative terms:

    other session's speed + speed of the moment + the network's own deviation

Of sessions few are measured, so what is assumed of them before (`SESSION_DEVIATION`, or
`SHARED_DEVIATION`) has the weight of `SESSION_PRIOR` of them. Each network's own deviation has the
variance that the fit left it (`calibrate.Posterior`), and what held-out networks deviate by beyond
that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.stats import kendalltau

from fofa.space import Architecture
from fofa.validation import DRIFT_SPREAD, SessionErrors, Uncertainty

SESSION_DEVIATION = 0.02
"""What is assumed of sessions before any is compared, on a machine that no other one shares."""
SHARED_DEVIATION = 0.04
"""The same of processors of virtual machines. Eight pairs of sessions, at once to hours apart,
differed by 0.6, 1.1, 2.2, 2.8, 3.1, 3.9, 4.9 and 7.1%: 3.8 as a root mean square."""
SESSION_PRIOR = 4.0
MOMENTS = 30.0
"""Degrees of freedom of the moments' spread, which comes from hundreds of visits."""


@dataclass(frozen=True, slots=True)
class OtherSession:
    """Times of whole networks in a session that the table was not made in.

    Attributes:
        visits_ms: by network, the median of each undisturbed visit, as timed: a user corrects
            nothing.
        again: the networks that the table's own session timed, too, with their time there.
    """

    visits_ms: Mapping[Architecture, Sequence[float]]
    again: Mapping[Architecture, float]

    def times_ms(self) -> dict[Architecture, float]:
        """Time of each network: the median over its visits."""
        return {network: float(np.median(visits)) for network, visits in self.visits_ms.items()}

    def shifts(self) -> dict[int, float]:
        """By resolution, the logarithm of how much slower this session was than the table's."""
        times = self.times_ms()
        logs: dict[int, list[float]] = {}
        for network, before_ms in self.again.items():
            logs.setdefault(network.resolution, []).append(math.log(times[network] / before_ms))
        return {resolution: float(np.median(values)) for resolution, values in logs.items()}

    def moments(self) -> np.ndarray:
        """Logarithms of all visits over their network's time."""
        logs = [np.log(visits) - np.log(np.median(visits)) for visits in self.visits_ms.values()]
        return np.concatenate(logs)


def session_errors(
    resolutions: Sequence[int],
    predicted_ms: Sequence[float] | np.ndarray,
    measured_ms: Sequence[float] | np.ndarray,
) -> SessionErrors:
    """Errors of predictions in percent of the measured time, one row a network."""
    predicted, measured = np.asarray(predicted_ms, float), np.asarray(measured_ms, float)
    signed = 100 * (predicted / measured - 1)
    slower = 100 * (measured / predicted - 1)
    tau = float(kendalltau(predicted, measured).statistic) if len(measured) > 1 else float("nan")
    at = np.asarray(resolutions)
    return SessionErrors(
        networks=len(measured),
        bias_percent={str(size): float(signed[at == size].mean()) for size in np.unique(at)},
        slower_90_percent=float(np.quantile(slower, 0.90, method="higher")),
        slower_95_percent=float(np.quantile(slower, 0.95, method="higher")),
        mape_percent=float(np.abs(signed).mean()),
        max_percent=float(np.abs(signed).max()),
        within_5_percent=float(100 * np.mean(np.abs(signed) <= 5)),
        within_10_percent=float(100 * np.mean(np.abs(signed) <= 10)),
        kendall_tau=None if np.isnan(tau) else tau,
    )


def uncertainty(
    residuals: np.ndarray,
    posterior: np.ndarray,
    sessions: Sequence[OtherSession],
    drift_percent: float,
    *,
    shared: bool = False,
) -> Uncertainty:
    """Of what a single network's error is made.

    Args:
        residuals: relative errors of held-out networks, each session's own speed taken out.
        posterior: mean relative variance that the fit left in a network's time.
        sessions: those after the table's own.
        drift_percent: spread of the machine's speed within the table's session.
        shared: whether the processor is a virtual machine's, whose host has others to serve.
    """
    total = len(sessions) + 1
    # Squared deviations of all sessions from their mean, the table's own being at 0.
    shifts = np.array([[0.0, *logs] for logs in _by_resolution(sessions)])
    squares = float(np.mean(shifts.var(axis=1)) * total) if shifts.size else 0.0
    freedom = SESSION_PRIOR + total - 1
    assumed = SHARED_DEVIATION if shared else SESSION_DEVIATION
    session = (SESSION_PRIOR * assumed**2 + squares) / freedom
    # The prediction stands at the mean of the sessions, which has an error of its own.
    session *= 1 + 1 / total
    spreads = [np.ptp(np.percentile(session.moments(), [5, 95])) for session in sessions]
    moment = (max([drift_percent / 100, *spreads]) / DRIFT_SPREAD) ** 2
    network = max(float(np.mean(residuals**2)), float(np.mean(posterior)))
    parts = [(session, freedom), (moment, MOMENTS), (network, max(len(residuals) - 1, 1))]
    variance = sum(part for part, _ in parts)
    return Uncertainty(
        session_percent=100 * math.sqrt(session),
        moment_percent=100 * math.sqrt(moment),
        network_percent=100 * math.sqrt(network),
        degrees_of_freedom=variance**2 / sum(part**2 / count for part, count in parts),
    )


def additive_deviations(counts: np.ndarray, base_ms: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Shares of the blocks in the deviations of networks, that add up to at least what is wanted.

    Standard deviations do not add up, but sums of blocks are what tables hold and searches bound.
    So each block gets a share in proportion to its time, and beyond that the least that covers
    every network (a linear program): where deviations are nearly proportional to latencies, as they
    are, little is given away.

    Args:
        counts: how often each network has each block, (N, B).
        base_ms: share of each block in a network's time, (B,), all positive.
        wanted: standard deviation of each network in ms, (N,).

    Returns:
        (B,), non-negative, with `counts @ shares >= wanted` up to rounding.
    """
    plain = counts @ base_ms
    least = float((wanted / plain).min())
    rest = wanted - least * plain
    found = linprog(counts.sum(axis=0), A_ub=-counts, b_ub=-rest, method="highs")
    if found.x is None:
        return base_ms * float((wanted / plain).max())
    shares = least * base_ms + np.maximum(found.x, 0.0)
    # The solver keeps a tolerance; a bound keeps none.
    return shares * max(1.0, float((wanted / (counts @ shares)).max()))


def _by_resolution(sessions: Sequence[OtherSession]) -> list[list[float]]:
    """Of each resolution, the shift of every session."""
    shifts = [session.shifts() for session in sessions]
    return [[shift[resolution] for shift in shifts] for resolution in (shifts[0] if shifts else ())]


def centres(sessions: Sequence[OtherSession]) -> dict[int, float]:
    """By resolution, how much slower than the table's own session the mean of all sessions is."""
    shifts = [session.shifts() for session in sessions]
    return {
        resolution: math.exp(sum(shift[resolution] for shift in shifts) / (len(shifts) + 1))
        for resolution in (shifts[0] if shifts else ())
    }
