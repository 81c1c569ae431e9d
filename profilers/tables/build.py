"""Making a device's table: measured with the core, or taken from a plugin that has one."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fofa.errors import UserError
from fofa.latency import Lut
from profilers.hardware.environment import capture_environment, live_state
from profilers.measuring.energy import measure_energies
from profilers.measuring.rounds import Instruments, prepare
from profilers.measuring.samples import PartialFile, Round, SchedulePlan, partial_path
from profilers.measuring.settings import MeasureSettings
from profilers.measuring.workload import Workload, plan_workload
from profilers.plugin import MeasuringPlugin, Session, TablePlugin
from profilers.tables.assemble import TimedSession
from profilers.tables.energy import with_energies
from profilers.tables.measured import ImpossibleTableError, LutRequest, Measured
from profilers.tables.other_session import RunSession, plan_other_session


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
        environment = environment_of(session, captured)
        request.check_hardware(environment, instruments.warn, required=require_match)
        if instruments.other_profilers():
            instruments.warn("another profiler is measuring on this machine; both will be unstable")
        workload = plan_workload(request.space, request.config, request.settings)
        protocol = session.protocol
        names = [workload.canary.name, *(item.name for item in workload.items)]
        partial = PartialFile(partial_path(out), names)
        if fresh:
            partial.discard()
        before, start = state_of(session), instruments.clock()

        def measured(plan: SchedulePlan, rounds: Sequence[Round]) -> Measured:
            return Measured(
                request=request,
                protocol=protocol,
                environment=environment,
                first=TimedSession.of(workload, plan, rounds),
            )

        def fault_of(plan: SchedulePlan, rounds: Sequence[Round]) -> str | None:
            timed = measured(plan, rounds)
            return timed.fault(timed.table())

        plan, rounds, num_resumed = resumable_rounds(
            session,
            workload,
            request.settings.first_session if run_session else request.settings,
            instruments,
            partial,
            request.identity(protocol, environment),
            fault_of,
        )
        energies = None
        if counter is not None:
            networks = [*workload.of("calibration"), *workload.of("validation")]
            energies = measure_energies(session, networks, counter, instruments)
        environment |= {"before": before, "after": state_of(session)}
    found = measured(plan, rounds)
    lut = found.table()
    if fault := found.fault(lut):
        partial.discard()
        raise ImpossibleTableError(
            f"{out}: not written, because {fault}: end other programs, or measure for longer "
            f"(--budget-seconds {2 * request.settings.budget_seconds:g}), and run it again"
        )
    if run_session is not None:
        others = other_sessions(found, lut, run_session, instruments)
        found = dataclasses.replace(found, others=others)
    found = found.with_facts(round(instruments.clock() - start, 1), num_resumed)
    lut = found.table()
    if energies is not None:
        lut = with_energies(lut, request.config, workload, energies)
    lut = found.write(lut, out)
    partial.discard()
    return lut


def other_sessions(
    found: Measured, lut: Lut, run_session: RunSession, instruments: Instruments
) -> tuple[TimedSession, ...]:
    """The sessions after the first, which time networks that its table `lut` says little of.

    Raises:
        UserError: if one ends without times.
    """
    request, timed = found.request, []
    for number in range(1, request.settings.sessions):
        instruments.progress.stage(f"session {number + 1}", 1)
        settings = request.settings.other_session(number)
        networks = plan_other_session(lut, request.config, settings, found.first.workload)
        timed.append(TimedSession.of(networks, *run_session(networks, settings)))
        instruments.progress.advance()
    return tuple(timed)


def environment_of(session: Session, captured: dict[str, Any]) -> dict[str, Any]:
    """Of the machine that is measured: another one's own, or else as it was `captured` here."""
    elsewhere = session.machine()
    if elsewhere is not None:
        captured = {name: value for name, value in elsewhere.items() if name != "state"}
    return captured | session.hardware()


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
