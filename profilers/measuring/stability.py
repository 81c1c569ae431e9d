"""Whether a measurement can be trusted, and every reason against it, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fofa.latency import Stability
from profilers.measuring.drift import Drift
from profilers.measuring.samples import Round
from profilers.measuring.statistics import Summary

MAX_DRIFT_PERCENT = 15.0
"""Above this the correction itself is in doubt."""
MAX_SPREAD_PERCENT = 6.0
"""Median coefficient of variation of the networks; trtexec warns at 2.5%, pyperf at 10%."""
MAX_NOISE_PERCENT = 2.5
MAX_OTHER_CPU_PERCENT = 15.0
"""Use by others of the measurement's cores during a round, in percent of one core."""
MAX_MACHINE_CPU_PERCENT = 15.0
"""Use by others of the whole machine, which shares memory, caches and heat. On two to six cores one
busy neighbour is more than that, on sixty-four it takes ten."""
MAX_STEAL_PERCENT = 5.0
MIN_CLEAN_ROUNDS = 4
MIN_CLEAN_SHARE = 0.4
"""Rounds during which others worked are left out, as long as this many and this share remain."""
MAX_CLOCK_CHANGE_PERCENT = 5.0
CLOCK_NAMES = ("sm_clock_mhz", "memory_clock_mhz")


def is_disturbed(round_: Round) -> bool:
    """Whether somebody else used the CPU during a round, enough to be felt."""
    return (
        (round_.other_cpu_percent or 0.0) > MAX_OTHER_CPU_PERCENT
        or (round_.machine_cpu_percent or 0.0) > MAX_MACHINE_CPU_PERCENT
        or (round_.steal_percent or 0.0) > MAX_STEAL_PERCENT
        or round_.other_profilers > 0
    )


def usable_rounds(rounds: Sequence[Round]) -> list[Round]:
    """The undisturbed rounds if there are enough of them, otherwise all."""
    clean = [round_ for round_ in rounds if not is_disturbed(round_)]
    enough = len(clean) >= max(MIN_CLEAN_ROUNDS, MIN_CLEAN_SHARE * len(rounds))
    return clean if enough else list(rounds)


def judge(
    rounds: Sequence[Round],
    drift: Drift,
    networks: Sequence[Summary],
    noise_percent: float | None = None,
) -> Stability:
    """The verdict on a finished measurement.

    Args:
        rounds: those that its result was made from (`usable_rounds`).
        networks: summaries of the whole networks, after correction for drift.
        noise_percent: difference between two timings of one network, if that was measured.
    """
    reasons = []
    if drift.canary_percent > MAX_DRIFT_PERCENT:
        reasons.append(
            f"the machine's speed drifted by {drift.canary_percent:.1f}% "
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
    reasons += _gpu_reasons(rounds)
    return Stability(stable=not reasons, reasons=reasons)


def _cpu_reasons(rounds: Sequence[Round]) -> list[str]:
    """Who used the CPU, if disturbed rounds had to be used."""
    disturbed = sum(is_disturbed(round_) for round_ in rounds)
    if not disturbed:
        return []
    share = f"in {disturbed} of {len(rounds)} rounds"
    reasons = []
    other = max((r.other_cpu_percent or 0.0 for r in rounds), default=0.0)
    if other > MAX_OTHER_CPU_PERCENT:
        mean = float(np.mean([r.other_cpu_percent or 0.0 for r in rounds]))
        reasons.append(
            f"other programs used the CPU {share}, {mean:.0f}% of a core on average "
            f"(limit {MAX_OTHER_CPU_PERCENT:g}%)"
        )
    machine = max((r.machine_cpu_percent or 0.0 for r in rounds), default=0.0)
    if machine > MAX_MACHINE_CPU_PERCENT and not reasons:
        mean = float(np.mean([r.machine_cpu_percent or 0.0 for r in rounds]))
        reasons.append(
            f"other programs kept the machine busy {share}, {mean:.0f}% of all cores on average "
            f"(limit {MAX_MACHINE_CPU_PERCENT:g}%)"
        )
    steal = max((r.steal_percent or 0.0 for r in rounds), default=0.0)
    if steal > MAX_STEAL_PERCENT:
        reasons.append(
            f"the hypervisor took up to {steal:.0f}% of a core {share} "
            f"(limit {MAX_STEAL_PERCENT:g}%)"
        )
    if any(round_.other_profilers for round_ in rounds):
        reasons.append(f"another profiler was measuring on this machine {share}")
    return reasons


def _gpu_reasons(rounds: Sequence[Round]) -> list[str]:
    """GPU clocks that changed, foreign processes and throttling, where a plugin tells them."""
    reasons = []
    states = [round_.state.get("gpu") or {} for round_ in rounds]
    for name in CLOCK_NAMES:
        clocks = [float(state[name]) for state in states if state.get(name)]
        if clocks and 100 * (max(clocks) / min(clocks) - 1) > MAX_CLOCK_CHANGE_PERCENT:
            reasons.append(
                f"{name} changed between {min(clocks):g} and {max(clocks):g} "
                "(nvidia-smi --lock-gpu-clocks holds the GPU's)"
            )
    if any(state.get("throttled") for state in states):
        reasons.append("heat or power held the GPU's clock down")
    foreign = max((int(state.get("foreign_processes") or 0) for state in states), default=0)
    if foreign:
        reasons.append(f"{foreign} other processes used the GPU")
    return reasons
