"""Making a device's table: measured with the core, or taken from a plugin that has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fofa.accuracy import SpaceRecord
from fofa.errors import UserError
from fofa.latency import DeviceRecord, Lut, LutEntry, ProtocolRecord
from fofa.space import NetworkConfig, SearchSpace
from profilers.hardware.devices import Device, ran_on
from profilers.hardware.environment import capture_environment, live_state
from profilers.measuring.measurement import Measurement, evaluate
from profilers.measuring.rounds import Instruments, prepare
from profilers.measuring.samples import (
    PartialFile,
    Round,
    SchedulePlan,
    partial_path,
    samples_path,
    write_samples,
)
from profilers.measuring.settings import MeasureSettings
from profilers.measuring.stability import is_disturbed, judge
from profilers.measuring.statistics import Summary, noise_percent
from profilers.measuring.workload import Item, Workload, plan_workload
from profilers.plugin import MeasuringPlugin, PluginOptions, Session, TablePlugin
from profilers.tables.calibrate import Timings, calibrate_blocks, validation_record


@dataclass(frozen=True, slots=True, kw_only=True)
class LutRequest:
    """What table is wanted; `options` are complete, the device's defaults filled in."""

    device: Device
    space: SearchSpace
    config: NetworkConfig = field(default_factory=NetworkConfig)
    options: PluginOptions = field(default_factory=PluginOptions)
    settings: MeasureSettings = field(default_factory=MeasureSettings)


def import_table(
    request: LutRequest, plugin: TablePlugin, resolutions: Sequence[int] | None
) -> Lut:
    """The table of a plugin that runs nothing, at the given or all of its resolutions.

    Raises:
        UserError: if the source is missing or wrong, or has not all of `resolutions`.
    """
    lut = plugin.table(request.space, request.config, request.options, request.device.name)
    lut = lut.model_copy(update={"created": lut.created or _now()})
    return lut if resolutions is None else restrict(lut, resolutions)


def restrict(lut: Lut, resolutions: Sequence[int]) -> Lut:
    """The part of a table at some of its resolutions.

    Raises:
        UserError: naming those it does not have.
    """
    wanted, present = sorted(set(resolutions)), set(lut.space.resolutions)
    if missing := [resolution for resolution in wanted if resolution not in present]:
        raise UserError(
            f"the table of {lut.device.requested} has no {', '.join(map(str, missing))} px, "
            f"only {lut.space.resolutions}"
        )
    data = lut.model_dump(by_alias=True)
    data["space"]["resolutions"] = wanted
    data["entries"] = [entry for entry in data["entries"] if entry["resolution"] in wanted]
    data["calibration"] = {
        resolution: value
        for resolution, value in data["calibration"].items()
        if int(resolution) in wanted
    }
    return Lut.model_validate(data)


def measure_lut(
    request: LutRequest,
    plugin: MeasuringPlugin,
    out: Path,
    instruments: Instruments,
    *,
    fresh: bool = False,
    require_match: bool = False,
) -> Lut:
    """Measure `request` on this machine and write the table to `out`, raw samples beside it.

    An interrupted measurement of the same request that lies beside `out` is continued, unless
    `fresh`.

    Raises:
        UserError: if the plugin cannot run here, if the hardware is not the device's and
            `require_match` says that it must be, or if `out` cannot be written.
    """
    captured = capture_environment()  # before a session keeps this process on some of the cores
    with plugin.open(request.options) as session:
        elsewhere = session.machine()
        if elsewhere is not None:
            captured = {name: value for name, value in elsewhere.items() if name != "state"}
        environment = captured | session.hardware()
        if fault := request.device.mismatch(ran_on(environment)):
            if require_match:
                raise UserError(f"{fault}; --require-match stops here")
            instruments.warn(f"{fault}; the table will say so")
        if instruments.other_profilers():
            instruments.warn("another profiler is measuring on this machine; both will be unstable")
        workload = plan_workload(request.space, request.config, request.settings)
        identity = measurement_identity(request, session.protocol, environment)
        names = [workload.canary.name, *(item.name for item in workload.items)]
        partial = PartialFile(partial_path(out), names)
        if fresh:
            partial.discard()
        before, start = state_of(session), instruments.clock()
        plan, rounds, num_resumed = resumable_rounds(
            session, workload, request.settings, instruments, partial, identity
        )
        measurement = evaluate(plan, rounds, workload.canary.name)
        environment |= {
            "before": before,
            "after": state_of(session),
            "measurement": {
                "seconds": round(instruments.clock() - start, 1),
                "resumed_rounds": num_resumed,
                **measurement_facts(measurement),
            },
        }
        lut = build_lut(request, session.protocol, workload, measurement, environment)
    side = samples_path(out)
    write_samples(side, measurement.samples_file(identity))
    lut = lut.model_copy(update={"raw_samples": side.name})
    lut.write(out)
    partial.discard()
    return lut


def state_of(session: Session) -> dict[str, Any]:
    """What may change from moment to moment on the machine that is measured."""
    elsewhere = session.machine()
    return live_state() if elsewhere is None else dict(elsewhere["state"])


def resumable_rounds(
    session: Session,
    workload: Workload,
    settings: MeasureSettings,
    instruments: Instruments,
    partial: PartialFile,
    identity: dict[str, Any],
) -> tuple[SchedulePlan, list[Round], int]:
    """Time every item of `workload`, keeping finished rounds in `partial` as they come.

    Returns:
        The plan, all rounds, and how many of them an interrupted measurement with the same
        `identity` had left there.

    Raises:
        UserError: if `partial` holds another measurement, or the plugin cannot lower an item.
    """
    found = partial.read(identity)
    with prepare(session, workload, settings, instruments) as prepared:
        plan, finished = found or (prepared.plan, [])
        partial.start(identity, plan, finished)
        rounds = list(finished)
        for round_ in prepared.rounds(plan, finished):
            partial.append(round_)
            rounds.append(round_)
    return plan, rounds, len(finished)


def build_lut(
    request: LutRequest,
    protocol: ProtocolRecord,
    workload: Workload,
    measurement: Measurement,
    environment: dict[str, Any],
) -> Lut:
    """The table that follows from a measurement: calibrated, validated and judged."""
    summaries = measurement.summaries
    calibrated = calibrate_blocks(
        {
            resolution: Timings(
                {
                    item.blocks[0]: summaries[item.name].median_ms
                    for item in workload.of("block", resolution)
                },
                [
                    (item.blocks, summaries[item.name].median_ms)
                    for item in workload.of("calibration", resolution)
                ],
            )
            for resolution in request.space.resolutions
        }
    )
    entries = [
        entry(item, summaries[item.name], calibrated[item.resolution].block_ms[item.blocks[0]])
        for item in workload.of("block")
    ]
    repeats = repeated_ms(workload, measurement)
    networks = [summaries[item.name] for item in workload.items if item.architecture]
    lut = Lut(
        device=DeviceRecord(
            requested=request.device.name,
            measured_on=environment,
            matches=request.device.matches(ran_on(environment)),
        ),
        method="measured",
        protocol=protocol,
        space=SpaceRecord.of(request.space),
        entries=entries,
        calibration={str(size): fit.calibration for size, fit in calibrated.items()},
        stability=judge(measurement.used, measurement.drift, networks, noise_percent(repeats)),
        created=_now(),
    )
    held_out = workload.of("validation")
    validation = validation_record(
        lut.latencies_ms(item.architecture for item in held_out if item.architecture),
        [summaries[item.name].median_ms for item in held_out],
        repeats,
    )
    return lut.model_copy(update={"validation": validation})


def entry(item: Item, alone: Summary, latency_ms: float) -> LutEntry:
    """The table's entry of a block: as timed alone, and its share of a network."""
    return LutEntry.of(
        item.blocks[0],
        latency_ms,
        resolution=item.resolution,
        alone_ms=alone.median_ms,
        mad_ms=alone.mad_ms,
        samples=alone.samples,
    )


def repeated_ms(workload: Workload, measurement: Measurement) -> list[tuple[float, float]]:
    """Both times of every network that was timed as two separate entries."""
    first = {item.architecture: item.name for item in workload.of("validation")}
    summaries = measurement.summaries
    return [
        (summaries[first[item.architecture]].median_ms, summaries[item.name].median_ms)
        for item in workload.of("repeat")
    ]


def measurement_identity(
    request: LutRequest, protocol: ProtocolRecord, environment: dict[str, Any]
) -> dict[str, Any]:
    """What must be equal for a measurement to be continued."""
    return {
        "device": request.device.name,
        "protocol": protocol.model_dump(mode="json"),
        "space": SpaceRecord.of(request.space).model_dump(mode="json"),
        "num_classes": request.config.num_classes,
        "seed": request.settings.seed,
        "networks": [
            request.settings.calibration_networks,
            request.settings.validation_networks,
            request.settings.repeats,
        ],
        "cpu": (environment.get("cpu") or {}).get("model"),
        "gpu": (environment.get("gpu") or {}).get("name"),
    }


def measurement_facts(measurement: Measurement) -> dict[str, Any]:
    """How the measurement went, as the table records it."""
    return {
        "rounds": len(measurement.rounds),
        "undisturbed_rounds": sum(not is_disturbed(round_) for round_ in measurement.rounds),
        "warmup_runs": measurement.plan.warmup_runs,
        "drift_percent": round(measurement.drift.canary_percent, 2),
        "residual_drift_percent": round(measurement.drift.residual_percent, 2),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
