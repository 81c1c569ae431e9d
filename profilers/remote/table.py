"""From what another machine sent back to its table, by the evaluation that serves here too."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fofa.errors import UserError
from fofa.latency import Lut
from profilers.hardware.devices import ran_on
from profilers.measuring.rounds import Instruments
from profilers.measuring.samples import samples_path, write_samples
from profilers.remote.bundle import Bundle, make_bundle
from profilers.remote.carry import Errand
from profilers.remote.request import RemoteOptions
from profilers.remote.samples import RemoteRun
from profilers.remote.transport import Transport
from profilers.tables.assemble import TimedSession, assemble, impossible
from profilers.tables.build import (
    ImpossibleTableError,
    LutRequest,
    measurement_facts,
    measurement_identity,
    session_facts,
)
from profilers.tables.other_session import plan_other_session


def measure_elsewhere(
    request: LutRequest,
    options: RemoteOptions,
    transport: Transport,
    out: Path,
    instruments: Instruments,
    *,
    fresh: bool = False,
    require_match: bool = False,
) -> Lut:
    """Measure `request` on the machine that `transport` leads to and write the table to `out`.

    Each session is an errand of its own: another process there, some time later.

    Raises:
        UserError: if the machine is not reached, cannot measure, or sends what is no measurement.
    """
    settings = request.settings
    kept = [
        out.with_name(f"{out.name}.{number}.samples.jsonl") for number in range(settings.sessions)
    ]

    def send(number: int, bundle: Bundle) -> RemoteRun:
        return Errand(
            transport=transport,
            bundle=bundle,
            options=options,
            out=out,
            kept=kept[number],
            progress=instruments.progress,
            warn=instruments.warn,
        ).run(fresh=fresh)

    first_settings = settings.first_session if settings.sessions > 1 else settings
    run, others = send(0, make_bundle(request, options, settings=first_settings)), []
    if fault := request.device.mismatch(ran_on(run.environment())):
        if require_match:
            raise UserError(f"{fault}; --require-match stops here")
        instruments.warn(f"{fault}; the table will say so")
    try:
        lut = table_of(request, run)
        for number in range(1, settings.sessions):
            later = settings.other_session(number)
            networks = plan_other_session(lut, request.config, later, run.workload)
            time.sleep(settings.gap_seconds)
            others.append(send(number, make_bundle(request, options, networks, later)))
        lut = write_table(request, run, out, others, carried_by=transport.name)
    except ImpossibleTableError:
        kept[0].unlink(missing_ok=True)
        raise
    for path in kept:
        path.unlink(missing_ok=True)
    return lut


def timed_session(run: RemoteRun) -> TimedSession:
    """What was timed, evaluated."""
    return TimedSession.of(run.workload, run.header.plan, run.rounds)


def table_of(
    request: LutRequest,
    run: RemoteRun,
    others: Sequence[RemoteRun] = (),
    carried_by: str = "bundle",
) -> Lut:
    """The table that follows from a run, and from the sessions that tested it.

    Raises:
        ImpossibleTableError: if the times cannot be those of networks.
    """
    first, later = timed_session(run), [timed_session(other) for other in others]
    environment: dict[str, Any] = run.environment() | {"carried_by": carried_by}
    environment["measurement"] = {
        "seconds": run.end.seconds,
        "resumed_rounds": run.end.resumed_rounds,
        **measurement_facts(first.measurement),
        "sessions": [session_facts(session, first) for session in later],
    }
    lut = assemble(
        request.device, request.space, request.config, run.protocol, environment, first, later
    )
    if fault := impossible(lut, first.measurement):
        raise ImpossibleTableError(
            f"no table is written, because {fault}: end other programs there, or measure for longer"
        )
    return lut


def write_table(
    request: LutRequest,
    run: RemoteRun,
    out: Path,
    others: Sequence[RemoteRun] = (),
    *,
    carried_by: str = "bundle",
    require_match: bool = False,
) -> Lut:
    """Make the table, and write it to `out`, raw samples beside it.

    Raises:
        UserError: if the hardware is not the device's and `require_match` says that it must be, or
            if `out` cannot be written.
    """
    environment = run.environment()
    if require_match and (fault := request.device.mismatch(ran_on(environment))):
        raise UserError(f"{fault}; --require-match stops here")
    lut = table_of(request, run, others, carried_by)
    identity = measurement_identity(request, run.protocol, environment)
    first, later = timed_session(run), [timed_session(other) for other in others]
    side = samples_path(out)
    write_samples(
        side, first.measurement.samples_file(identity, [other.measurement for other in later])
    )
    lut = lut.model_copy(update={"raw_samples": side.name})
    lut.write(out)
    return lut
