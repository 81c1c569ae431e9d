"""Making a device's table: measured with the core, or taken from a plugin that has one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fofa.accuracy import SpaceRecord
from fofa.errors import UserError
from fofa.latency import Lut, ProtocolRecord
from fofa.space import NetworkConfig, SearchSpace
from profilers.hardware.devices import Device, ran_on
from profilers.hardware.environment import capture_environment, live_state
from profilers.measuring.energy import measure_energies
from profilers.measuring.measurement import Measurement
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
from profilers.measuring.stability import is_disturbed
from profilers.measuring.workload import Workload, plan_workload
from profilers.plugin import MeasuringPlugin, PluginOptions, Session, TablePlugin
from profilers.tables.assemble import TimedSession, assemble, impossible
from profilers.tables.energy import with_energies
from profilers.tables.other_session import RunSession, plan_other_session


class ImpossibleTableError(UserError):
    """What was timed cannot be true; the wish was right, so programs end with exit code 1."""


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
    lut = lut.model_copy(
        update={"created": lut.created or datetime.now(UTC).isoformat(timespec="seconds")}
    )
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
    run_session: RunSession | None = None,
    energy: bool = False,
) -> Lut:
    """Measure `request` on this machine and write the table to `out`, raw samples beside it.

    An interrupted measurement of the same request that lies beside `out` is continued, unless
    `fresh`.

    Args:
        run_session: times networks in another session; without it the table's own is the only one.
        energy: measure the energy of networks, too, once all are timed.

    Raises:
        ImpossibleTableError: if the times cannot be those of networks, after measuring for as long
            again; nothing is written.
        UserError: if the plugin cannot run here, if the hardware is not the device's and
            `require_match` says that it must be, if energy cannot be read, or if `out` cannot be
            written.
    """
    captured = capture_environment()  # before a session keeps this process on some of the cores
    with contextlib.ExitStack() as opened:
        session = opened.enter_context(plugin.open(request.options))
        counter = opened.enter_context(session.energy()) if energy else None
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
        protocol = session.protocol

        def table_of(first: TimedSession, others: Sequence[TimedSession] = ()) -> Lut:
            return assemble(
                request.device, request.space, request.config, protocol, environment, first, others
            )

        def fault_of(plan: SchedulePlan, rounds: Sequence[Round]) -> str | None:
            timed = TimedSession.of(workload, plan, rounds)
            return impossible(table_of(timed), timed.measurement)

        plan, rounds, num_resumed = resumable_rounds(
            session,
            workload,
            request.settings.first_session if run_session else request.settings,
            instruments,
            partial,
            identity,
            fault_of,
        )
        energies = None
        if counter is not None:
            networks = [*workload.of("calibration"), *workload.of("validation")]
            energies = measure_energies(session, networks, counter, instruments)
        environment |= {"before": before, "after": state_of(session)}
    first = TimedSession.of(workload, plan, rounds)
    if fault := fault_of(plan, rounds):
        partial.discard()
        raise ImpossibleTableError(
            f"{out}: not written, because {fault}: end other programs, or measure for longer "
            f"(--budget-seconds {2 * request.settings.budget_seconds:g}), and run it again"
        )
    others = []
    for number in range(1, request.settings.sessions if run_session else 1):
        instruments.progress.stage(f"session {number + 1}", 1)
        settings = request.settings.other_session(number)
        further = plan_other_session(table_of(first), request.config, settings, workload)
        assert run_session is not None
        others.append(TimedSession.of(further, *run_session(further, settings)))
        instruments.progress.advance()
    environment["measurement"] = {
        "seconds": round(instruments.clock() - start, 1),
        "resumed_rounds": num_resumed,
        **measurement_facts(first.measurement),
        "sessions": [session_facts(other, first) for other in others],
    }
    lut = table_of(first, others)
    if energies is not None:
        lut = with_energies(lut, request.config, workload, energies)
    side = samples_path(out)
    samples = first.measurement.samples_file(identity, [other.measurement for other in others])
    write_samples(side, samples)
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
    fault_of: Callable[[SchedulePlan, Sequence[Round]], str | None] = lambda plan, rounds: None,
) -> tuple[SchedulePlan, list[Round], int]:
    """Time every item of `workload`, keeping finished rounds in `partial` as they come.

    Args:
        fault_of: says what is wrong with finished rounds; then as many again are made.

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
        if fault := fault_of(plan, rounds):
            instruments.warn(f"{fault}: measuring on")
            plan = plan.model_copy(update={"rounds": 2 * plan.rounds})
            partial.start(identity, plan, rounds)
            for round_ in prepared.rounds(plan, tuple(rounds)):
                partial.append(round_)
                rounds.append(round_)
    return plan, rounds, len(finished)


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


def session_facts(other: TimedSession, first: TimedSession) -> dict[str, Any]:
    """How another session went: by resolution, how much slower it was than the table's own."""
    shifts = other.as_seen_from(first).shifts()
    return {
        **measurement_facts(other.measurement),
        "slower_percent": {
            str(resolution): round(100 * math.expm1(shift), 2)
            for resolution, shift in shifts.items()
        },
    }
