"""Whether a measurement can be trusted, and every reason against it, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fofa.latency import Stability
from profilers.drift import Drift
from profilers.samples import Round
from profilers.statistics import Summary

MAX_DRIFT_PERCENT = 15.0
"""Above this the correction itself is in doubt."""
MAX_SPREAD_PERCENT = 6.0
"""Median coefficient of variation of the networks; trtexec warns at 2.5%, pyperf at 10%."""
MAX_NOISE_PERCENT = 2.5
MAX_OTHER_CPU_PERCENT = 15.0
"""Mean use of the CPU by others, in percent of one core."""
MAX_STEAL_PERCENT = 5.0
MAX_CLOCK_CHANGE_PERCENT = 5.0
CLOCK_NAMES = ("sm_clock_mhz", "memory_clock_mhz")


def judge(
    rounds: Sequence[Round],
    drift: Drift,
    networks: Sequence[Summary],
    noise_percent: float | None = None,
) -> Stability:
    """The verdict on a finished measurement.

    Args:
        networks: summaries of the whole networks, after correction for drift.
        noise_percent: difference between two timings of one network, if that was measured.
    """
    reasons = []
    if drift.range_percent > MAX_DRIFT_PERCENT:
        reasons.append(
            f"the machine's speed drifted by {drift.range_percent:.1f}% "
            f"(limit {MAX_DRIFT_PERCENT:g}%)"
        )
    spread = 100 * float(np.median([network.relative_spread for network in networks]))
    if spread > MAX_SPREAD_PERCENT:
        reasons.append(
            f"times of one network scatter by {spread:.1f}% (limit {MAX_SPREAD_PERCENT:g}%)"
        )
    if noise_percent is not None and noise_percent > MAX_NOISE_PERCENT:
        reasons.append(
            f"the same network timed twice differs by {noise_percent:.1f}% "
            f"(limit {MAX_NOISE_PERCENT:g}%)"
        )
    reasons += _cpu_reasons(rounds)
    reasons += _clock_reasons(rounds)
    return Stability(stable=not reasons, reasons=reasons)


def _cpu_reasons(rounds: Sequence[Round]) -> list[str]:
    reasons = []
    other = _mean([round_.other_cpu_percent for round_ in rounds])
    if other is not None and other > MAX_OTHER_CPU_PERCENT:
        reasons.append(
            f"other programs used {other:.0f}% of a CPU core (limit {MAX_OTHER_CPU_PERCENT:g}%)"
        )
    steal = _mean([round_.steal_percent for round_ in rounds])
    if steal is not None and steal > MAX_STEAL_PERCENT:
        reasons.append(
            f"the hypervisor took {steal:.0f}% of a CPU core (limit {MAX_STEAL_PERCENT:g}%)"
        )
    profilers = max((round_.other_profilers for round_ in rounds), default=0)
    if profilers:
        reasons.append(f"{profilers} other profiler was measuring on this machine")
    return reasons


def _clock_reasons(rounds: Sequence[Round]) -> list[str]:
    """GPU clocks that changed, foreign processes and throttling, where a plugin tells them."""
    reasons = []
    for name in CLOCK_NAMES:
        clocks = [float(r.state[name]) for r in rounds if r.state.get(name)]
        if clocks and 100 * (max(clocks) / min(clocks) - 1) > MAX_CLOCK_CHANGE_PERCENT:
            reasons.append(f"{name} changed between {min(clocks):g} and {max(clocks):g}")
    if any(round_.state.get("throttled") for round_ in rounds):
        reasons.append("heat or power held the GPU's clock down")
    foreign = max((int(r.state.get("foreign_processes") or 0) for r in rounds), default=0)
    if foreign:
        reasons.append(f"{foreign} other processes used the GPU")
    return reasons


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
