"""From the times of one or more sessions to a table: calibrated, bounded, validated and judged.

Works on plain records, so that a table can be made again from its samples. The first session makes
the table; the others say by how much it is off elsewhere, and it is put in the middle of all.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from fofa.accuracy import SpaceRecord
from fofa.latency import Calibration, DeviceRecord, Lut, LutEntry, ProtocolRecord, Stability
from fofa.space import Architecture, NetworkConfig, SearchSpace, architecture_blocks
from fofa.validation import SessionErrors, Uncertainty, Validation
from profilers.hardware.devices import Device, is_shared, ran_on
from profilers.measuring.measurement import Measurement, evaluate
from profilers.measuring.samples import Round, SchedulePlan
from profilers.measuring.stability import judge
from profilers.measuring.statistics import noise_percent
from profilers.measuring.workload import Workload, network_pool
from profilers.tables.calibrate import CalibratedBlocks, Timings, block_counts, calibrate_blocks
from profilers.tables.validate import (
    OtherSession,
    additive_deviations,
    centres,
    session_errors,
    uncertainty,
)

MAX_DRIFT_PERCENT = 300.0
"""A machine whose speed varies fourfold cannot be corrected to any one speed."""
MAX_ERROR_PERCENT = 30.0
"""Mean error in the table's own session; what is further off predicts nothing."""
MAX_RATIO = 4.0
"""By how much a network's time may differ from the sum of its blocks."""
MAX_SHIFT_PERCENT = 10.0
"""Two sessions further apart than this are a sign of load, not of chance."""
LEAST_MS = 1e-9
MAX_DEVIATION_PERCENT = 4.0
"""Networks that deviate by more from their table in another session met somebody else's load: a
neighbour on the same chip, whom the machine's own accounts do not show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedSession:
    """One process's rounds: what was timed, and what came out."""

    workload: Workload
    measurement: Measurement

    @classmethod
    def of(cls, workload: Workload, plan: SchedulePlan, rounds: Sequence[Round]) -> TimedSession:
        """The session in which `workload` was timed; held-out networks say nothing of its drift,
        unless there are no others."""
        held_out = workload.held_out
        if held_out.issuperset(item.name for item in workload.items):
            held_out = frozenset()
        return cls(
            workload=workload,
            measurement=evaluate(
                plan, rounds, workload.canary.name, blocks=workload.blocks, held_out=held_out
            ),
        )

    def times_ms(self, *roles: str) -> dict[Architecture, float]:
        """Corrected time of each whole network in these roles."""
        return {
            item.architecture: self.measurement.summaries[item.name].median_ms
            for item in self.workload.items
            if item.role in roles and item.architecture
        }

    def as_seen_from(self, first: TimedSession) -> OtherSession:
        """This session's times beside those that `first` has of the same networks."""
        items = {item.name: item.architecture for item in self.workload.items}
        visits: dict[Architecture, list[float]] = {}
        for round_ in self.measurement.used:
            for visit in round_.visits:
                if architecture := items.get(visit.item):
                    visits.setdefault(architecture, []).append(float(np.median(visit.samples_ms)))
        return OtherSession(visits_ms=visits, again=first.times_ms("validation"))


def assemble(
    device: Device,
    space: SearchSpace,
    config: NetworkConfig,
    protocol: ProtocolRecord,
    environment: dict[str, Any],
    first: TimedSession,
    others: Sequence[TimedSession] = (),
) -> Lut:
    """The table that follows from its own session and the others."""
    summaries = first.measurement.summaries
    fits = calibrate_blocks({size: _timings(first, size) for size in space.resolutions})
    lut = Lut(
        device=DeviceRecord(
            requested=device.name,
            measured_on=environment,
            matches=device.matches(ran_on(environment)),
        ),
        method="measured",
        protocol=protocol,
        space=SpaceRecord.of(space),
        entries=[
            LutEntry.of(
                item.blocks[0],
                fits[item.resolution].block_ms[item.blocks[0]],
                resolution=item.resolution,
                alone_ms=summaries[item.name].median_ms,
                mad_ms=summaries[item.name].mad_ms,
                samples=summaries[item.name].samples,
            )
            for item in first.workload.of("block")
        ],
        calibration={str(size): fit.calibration for size, fit in fits.items()},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    validation, known = _validated(lut, config, fits, first, others)
    centre = centres([session.as_seen_from(first) for session in others])
    stability = _judged(first, others, known)
    lut = lut.model_copy(update={"validation": validation, "stability": stability})
    return _bounded(lut, config, fits, known, centre)


def impossible(lut: Lut, measurement: Measurement) -> str | None:
    """Why the times cannot be those of networks; None where they can."""
    drift = measurement.drift
    if not drift.canary_percent <= MAX_DRIFT_PERCENT:
        return f"the machine's speed varied by {drift.canary_percent:.0f}% while it was measured"
    known = lut.validation.within_session if lut.validation else None
    if known is not None and not known.mape_percent <= MAX_ERROR_PERCENT:
        return f"it is off by {known.mape_percent:.0f}% on average in its own session"
    for resolution in lut.space.resolutions:
        for network in _pool(lut.search_space, resolution):
            latency, alone = lut.latency_ms(network), lut.sum_ms(network)
            if not alone / MAX_RATIO <= latency <= alone * MAX_RATIO:
                return (
                    f"{network} would take {latency:.4g} ms, and its blocks {alone:.4g} ms in sum"
                )
    return None


def repeated_ms(first: TimedSession) -> list[tuple[float, float]]:
    """Both times of every network that was timed as two separate entries."""
    once, again = first.times_ms("validation"), first.times_ms("repeat")
    return [(once[network], ms) for network, ms in again.items()]


def _timings(first: TimedSession, resolution: int) -> Timings:
    workload, summaries = first.workload, first.measurement.summaries
    return Timings(
        {i.blocks[0]: summaries[i.name].median_ms for i in workload.of("block", resolution)},
        [(i.blocks, summaries[i.name].median_ms) for i in workload.of("calibration", resolution)],
    )


def _judged(first: TimedSession, others: Sequence[TimedSession], known: Uncertainty) -> Stability:
    """The verdict on all sessions, and on how they differ."""
    reasons = list(_verdict(first, noise_percent(repeated_ms(first))).reasons)
    for session in others:
        reasons += [f"in another session {reason}" for reason in _verdict(session).reasons]
        for resolution, shift in session.as_seen_from(first).shifts().items():
            percent = 100 * float(np.expm1(shift))
            if abs(percent) > MAX_SHIFT_PERCENT:
                reasons.append(
                    f"at {resolution} px another session took {percent:+.1f}% "
                    f"(limit {MAX_SHIFT_PERCENT:g}%)"
                )
    if others and known.network_percent > MAX_DEVIATION_PERCENT:
        reasons.append(
            f"in another session networks deviated by {known.network_percent:.1f}% each on its own "
            f"(limit {MAX_DEVIATION_PERCENT:g}%)"
        )
    return Stability(stable=not reasons, reasons=reasons)


def _verdict(session: TimedSession, noise: float | None = None) -> Stability:
    measurement = session.measurement
    networks = [measurement.summaries[i.name] for i in session.workload.items if i.architecture]
    return judge(measurement.used, measurement.drift, networks, noise)


def _validated(
    lut: Lut,
    config: NetworkConfig,
    fits: dict[int, CalibratedBlocks],
    first: TimedSession,
    others: Sequence[TimedSession],
) -> tuple[Validation, Uncertainty]:
    """The error of the first session's table, in that session and in the others."""
    within_ms = first.times_ms("validation")
    sessions = [session.as_seen_from(first) for session in others]
    measured = [session.times_ms() for session in sessions] or [within_ms]
    residuals: list[float] = []
    for times in measured:
        for resolution in lut.space.resolutions:
            at = [network for network in times if network.resolution == resolution]
            # Under load a table can say less than nothing; `impossible` refuses it afterwards.
            predicted = np.maximum(lut.latencies_ms(at), LEAST_MS)
            logs = np.log([times[n] for n in at]) - np.log(predicted)
            residuals += (logs - np.median(logs)).tolist()
    networks = [(network, ms) for times in measured for network, ms in times.items()]
    known = uncertainty(
        np.array(residuals),
        _posterior(lut, config, fits, [network for network, _ in networks]) ** 2,
        sessions,
        first.measurement.drift.canary_percent,
        shared=is_shared(lut.device.measured_on),
    )
    validation = Validation.of_sessions(
        _errors(lut, list(within_ms.items())),
        _errors(lut, networks) if sessions else None,
        noise_percent=noise_percent(repeated_ms(first)),
        uncertainty=known,
    )
    return validation, known


def _errors(lut: Lut, networks: Sequence[tuple[Architecture, float]]) -> SessionErrors:
    return session_errors(
        [network.resolution for network, _ in networks],
        lut.latencies_ms(network for network, _ in networks),
        [ms for _, ms in networks],
    )


def _posterior(
    lut: Lut,
    config: NetworkConfig,
    fits: dict[int, CalibratedBlocks],
    networks: Sequence[Architecture],
) -> np.ndarray:
    """Relative standard deviation that the fits left in each network's time."""
    found = np.empty(len(networks))
    for resolution, fit in fits.items():
        rows = [row for row, network in enumerate(networks) if network.resolution == resolution]
        blocks = [architecture_blocks(networks[row], config) for row in rows]
        if rows:
            found[rows] = fit.posterior.deviations_ms(blocks)
    return found / lut.latencies_ms(networks)


def _bounded(
    lut: Lut,
    config: NetworkConfig,
    fits: dict[int, CalibratedBlocks],
    known: Uncertainty,
    centre: dict[int, float],
) -> Lut:
    """The table in the middle of its sessions, with the blocks' shares of the deviations.

    What networks deviate by on their own is shared out as the fits' variances are.
    """
    common = np.hypot(known.session_percent, known.moment_percent) / 100
    calibration, shares = {}, {}
    for resolution, fit in fits.items():
        pool = _pool(lut.search_space, resolution)
        blocks = [architecture_blocks(network, config) for network in pool]
        factor = centre.get(resolution, 1.0)
        scale = fit.calibration.scale * factor
        posterior = fit.posterior.deviations_ms(blocks) / lut.latencies_ms(pool)
        mean = float(np.sqrt(np.mean(posterior**2)))
        own = known.network_percent / 100 * (posterior / mean if mean > 0 else 1.0)
        calibration[str(resolution)] = Calibration(
            scale=scale, offset_ms=fit.calibration.offset_ms * factor
        )
        found = additive_deviations(
            block_counts(fit.block_ms, blocks),
            scale * np.array([*fit.block_ms.values()]),
            factor * lut.latencies_ms(pool) * np.hypot(common, own),
        )
        for block, share in zip(fit.block_ms, found, strict=True):
            shares[resolution, block.key] = float(share)
    entries = [
        entry.model_copy(update={"deviation_ms": shares[entry.resolution, entry.key]})
        for entry in lut.entries
    ]
    return lut.model_copy(update={"calibration": calibration, "entries": entries})


def _pool(space: SearchSpace, resolution: int) -> list[Architecture]:
    """All networks of a resolution, or a sample with the extremes where there are too many."""
    rng = random.Random(str(resolution))
    return [Architecture(subnet, resolution) for subnet in network_pool(space, rng)]
