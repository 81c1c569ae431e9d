"""Faults of reading a table: no calibration, no correction for drift, a key without resolution.

Works on a measured table and its raw samples, so that both sides of each comparison come from the
same runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.measuring import Finding
from fofa.errors import UserError
from fofa.latency import Lut, block_keys
from fofa.space import Architecture, parse_architecture
from profilers.measuring.drift import correct, estimate_drift
from profilers.measuring.measurement import Measurement, evaluate
from profilers.measuring.samples import Round, Visit, read_samples, round_of

BUDGET_SHARES = (0.2, 0.4, 0.6, 0.8)
"""Latency limits, as shares of the range from the fastest to the slowest architecture."""


def findings(path: Path) -> list[Finding]:
    """What the table at `path` would be with each fault.

    Raises:
        UserError: if the table was not measured or its raw samples are missing.
    """
    lut = Lut.read(path)
    alone = all(entry.alone_ms is not None for entry in lut.entries)
    if lut.raw_samples is None or lut.validation is None or not alone:
        raise UserError(f"{path}: has no raw samples; measure it with fofa-profile")
    samples = read_samples(path.with_name(lut.raw_samples))
    rounds = [round_of(record, samples.items) for record in samples.rounds]
    canary = next(name for name in samples.items if name.startswith("canary "))
    held_out = {name for name in samples.items if name.startswith(("validation ", "repeat "))}
    blocks = {name for name in samples.items if name.startswith("block ")}
    measurement = evaluate(samples.plan, rounds, canary, blocks=blocks, held_out=held_out)
    return [
        _no_calibration(lut, measurement),
        _no_drift_correction(measurement.used, canary, blocks),
        *_key_without_resolution(lut),
    ]


def _no_calibration(lut: Lut, measurement: Measurement) -> Finding:
    held_out = {
        parse_architecture(name.split()[1]): summary.median_ms
        for name, summary in measurement.summaries.items()
        if name.startswith("validation ")
    }
    alone = {
        (entry.resolution, entry.key): entry.alone_ms
        for entry in lut.entries
        if entry.alone_ms is not None
    }
    sums = np.array([sum(alone[a.resolution, key] for key in block_keys(a)) for a in held_out])
    measured = np.array(list(held_out.values()))
    errors = 100 * np.abs(sums / measured - 1)
    calibrated = 100 * np.abs(lut.latencies_ms(held_out) / measured - 1)
    return Finding(
        "no calibration: blocks timed alone are added up",
        f"{lut.device.requested} table, {len(measured)} held-out networks",
        "error of a network, mean and largest",
        f"{errors.mean():.1f}%, {errors.max():.0f}%",
        f"{calibrated.mean():.2f}%, {calibrated.max():.1f}%",
    )


def _no_drift_correction(rounds: Sequence[Round], canary: str, blocks: set[str]) -> Finding:
    visits = [visit for round_ in rounds for visit in round_.visits]
    drift = estimate_drift(visits, canary, blocks)
    plain: dict[str, list[float]] = {}
    corrected: dict[str, list[float]] = {}
    for visit in visits:
        if _is_network(visit):
            plain.setdefault(visit.item, []).append(float(np.median(visit.samples_ms)))
            corrected.setdefault(visit.item, []).append(float(np.median(correct(visit, drift))))
    return Finding(
        "no correction for drift",
        f"same runs; the canary varied by {drift.canary_percent:.1f}%",
        "even against odd rounds, mean difference of a network",
        f"{_half_difference_percent(plain):.2f}%",
        f"{_half_difference_percent(corrected):.2f}%",
    )


def _key_without_resolution(lut: Lut) -> list[Finding]:
    """CompOFA's cache: a block's latency is kept under its choices alone, so that the resolution
    that happens to be asked for first answers for all."""
    architectures = list(lut.search_space.architectures())
    true = lut.latencies_ms(architectures)
    found = []
    for first in (min(lut.space.resolutions), max(lut.space.resolutions)):
        cached = lut.latencies_ms(Architecture(a.subnet, first) for a in architectures)
        found.append(
            Finding(
                f"cache key without resolution ({first} px asked first)",
                f"{lut.device.requested} table, {len(architectures)} architectures",
                "largest network within each of four limits",
                _overruns(architectures, cached, true),
                _overruns(architectures, true, true),
            )
        )
    return found


def _overruns(architectures: Sequence[Architecture], believed: np.ndarray, true: np.ndarray) -> str:
    """What a search that believes `believed` picks, and by how much that breaks its limit."""
    size = np.array([a.resolution * sum(a.subnet.depths) for a in architectures])
    ratios = []
    for share in BUDGET_SHARES:
        limit = true.min() + share * (true.max() - true.min())
        within = np.flatnonzero(believed <= limit)
        pick = within[np.argmax(size[within])] if within.size else None
        ratios.append(float("nan") if pick is None else float(true[pick] / limit))
    broken = sum(ratio > 1 for ratio in ratios)
    return f"{broken} of {len(ratios)} limits broken; " + ", ".join(
        "none found" if np.isnan(ratio) else f"{ratio:.2f}x" for ratio in ratios
    )


def _half_difference_percent(times: dict[str, list[float]]) -> float:
    """Mean difference of the medians of every other visit."""
    pairs = [(np.median(values[::2]), np.median(values[1::2])) for values in times.values()]
    return float(100 * np.mean([abs(a / b - 1) for a, b in pairs]))


def _is_network(visit: Visit) -> bool:
    return visit.item.startswith(("calibration ", "validation ", "repeat "))
