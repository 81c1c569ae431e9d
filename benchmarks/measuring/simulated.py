"""Faults on the simulated device, where the truth is known: drift, outliers, no synchronisation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.measuring import Finding
from fofa.space import NetworkConfig, SearchSpace
from profilers.measuring.measurement import evaluate
from profilers.measuring.rounds import run_rounds
from profilers.measuring.settings import MeasureSettings
from profilers.measuring.simulation import SimulatedDevice, SimulatedPlugin
from profilers.measuring.workload import Item, Workload, plan_workload
from profilers.plugin import PluginOptions

DRIFT_SHARE = 0.2
DRIFT_SECONDS = 20.0
CALLS = 100
"""Runs whose mean a simple script takes, one item after the other."""


def findings() -> list[Finding]:
    """Drift, outliers and a missing synchronisation."""
    settings = MeasureSettings(min_rounds=10, max_rounds=10)
    workload = plan_workload(SearchSpace(resolutions=(128, 224)), NetworkConfig(), settings)
    drifting = SimulatedDevice(drift=_slow_wave)
    disturbed = SimulatedDevice(outlier_share=0.02, outlier_factor=30)
    asynchronous = SimulatedDevice(launch_ms=0.02)
    return [
        _compare("speed drifts by 20% within 20 s", drifting, workload, settings),
        _compare("2% of the runs are 30 times slower", disturbed, workload, settings),
        Finding(
            "no synchronisation",
            "simulated device that returns after the launch",
            "median latency of a network",
            f"{np.median(_network_ms(asynchronous, workload)):.3g} ms",
            f"{np.median(_network_ms(SimulatedDevice(), workload)):.3g} ms",
        ),
    ]


def _slow_wave(seconds: float) -> float:
    return 1 + DRIFT_SHARE / 2 * math.sin(2 * math.pi * seconds / DRIFT_SECONDS)


def _compare(
    fault: str, device: SimulatedDevice, workload: Workload, settings: MeasureSettings
) -> Finding:
    naive = _errors_percent(_one_after_the_other(device, workload.items), device, workload.items)
    plugin = SimulatedPlugin(device)
    with plugin.open(PluginOptions()) as session:
        plan, rounds = run_rounds(session, workload, settings, plugin.instruments())
    made = evaluate(plan, rounds, workload.canary.name, blocks=workload.blocks)
    careful = [made.summaries[item.name].median_ms for item in workload.items]
    errors = _errors_percent(careful, device, workload.items)
    return Finding(
        fault,
        "simulated device, blocks and networks",
        "error of a time, mean and largest",
        f"{naive.mean():.1f}%, {naive.max():.0f}% (one item after the other, mean of {CALLS})",
        f"{errors.mean():.2f}%, {errors.max():.1f}%",
    )


def _one_after_the_other(device: SimulatedDevice, items: Sequence[Item]) -> list[float]:
    """Mean of some calls per item, the way of a simple script."""
    plugin = SimulatedPlugin(device)
    with plugin.open(PluginOptions()) as session:
        runners = [session.lower(item.blocks) for item in items]
        return [float(np.mean([runner.run() for _ in range(CALLS)])) for runner in runners]


def _network_ms(device: SimulatedDevice, workload: Workload) -> list[float]:
    networks = [item for item in workload.items if item.architecture]
    return _one_after_the_other(device, networks)


def _errors_percent(
    times: Sequence[float], device: SimulatedDevice, items: Sequence[Item]
) -> np.ndarray:
    """Errors against the truth; a common factor (the machine's median speed) is free."""
    ratio = np.array(times) / [device.latency_ms(item.blocks) for item in items]
    return 100 * np.abs(ratio / np.median(ratio) - 1)
