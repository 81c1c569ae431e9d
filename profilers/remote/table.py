"""From what another machine sent back to its table, by the evaluation that serves here too."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from fofa.latency import Lut
from profilers.measuring.rounds import Instruments
from profilers.remote.bundle import Bundle, make_bundle
from profilers.remote.carry import Errand
from profilers.remote.request import RemoteOptions
from profilers.remote.samples import RemoteRun
from profilers.remote.transport import Transport
from profilers.tables.assemble import TimedSession
from profilers.tables.measured import ImpossibleTableError, LutRequest, Measured
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
    request.check_hardware(run.environment(), instruments.warn, required=require_match)
    try:
        lut = possible_table(measured(request, run))
        for number in range(1, settings.sessions):
            later = settings.other_session(number)
            networks = plan_other_session(lut, request.config, later, run.workload)
            time.sleep(settings.gap_seconds)
            others.append(send(number, make_bundle(request, options, networks, later)))
        lut = write_table(request, run, out, others, transport.name)
    except ImpossibleTableError:
        kept[0].unlink(missing_ok=True)
        raise
    for path in kept:
        path.unlink(missing_ok=True)
    return lut


def measured(
    request: LutRequest,
    run: RemoteRun,
    others: Sequence[RemoteRun] = (),
    carried_by: str = "bundle",
) -> Measured:
    """What a run timed, and the sessions that tested it."""
    first, *later = (
        TimedSession.of(each.workload, each.header.plan, each.rounds) for each in (run, *others)
    )
    return Measured(
        request=request,
        protocol=run.protocol,
        environment=run.environment() | {"carried_by": carried_by},
        first=first,
        others=tuple(later),
    ).with_facts(run.end.seconds, run.end.resumed_rounds)


def possible_table(found: Measured) -> Lut:
    """The table that follows.

    Raises:
        ImpossibleTableError: if the times cannot be those of networks.
    """
    lut = found.table()
    if fault := found.fault(lut):
        raise ImpossibleTableError(
            f"no table is written, because {fault}: end other programs there, or measure for longer"
        )
    return lut


def write_table(
    request: LutRequest,
    run: RemoteRun,
    out: Path,
    others: Sequence[RemoteRun] = (),
    carried_by: str = "bundle",
) -> Lut:
    """Make the table, and write it to `out`, raw samples beside it.

    Raises:
        ImpossibleTableError: if the times cannot be those of networks.
        UserError: if `out` cannot be written.
    """
    found = measured(request, run, others, carried_by)
    return found.write(possible_table(found), out)
