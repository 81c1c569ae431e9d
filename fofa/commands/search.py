"""`fofa-search`: the most accurate network for a latency budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fofa.accuracy import AccuracyTable
from fofa.commands.cli import (
    make_app,
    parse_resolutions,
    run_app,
    say_json,
    stderr_console,
    stdout_console,
)
from fofa.commands.help import ending
from fofa.errors import UserError
from fofa.files import check_replaceable
from fofa.latency import Lut
from fofa.outcomes import read_outcomes
from fofa.predictor.model import load_predictor
from fofa.runs import Run
from fofa.search.budgets import Budgets, parse_bytes
from fofa.search.number_types import Source, problems_by_type, solve_types
from fofa.search.problem import Problem, Target
from fofa.search.report import Outcome, check_plot_path, plot_front, print_outcome
from fofa.space import SpaceKind, parse_architecture
from fofa.validation import margin_of

if TYPE_CHECKING:
    from fofa.verify import Verdict

app = make_app(
    "Find the most accurate network within a latency budget (or a budget of multiply-adds). "
    "Exact over an accuracy table or the compound space; evolutionary, with a predictor, in the "
    "elastic one."
)


@app.command(
    epilog=ending(
        "fofa-search --lut cpu.json --accuracy mine.json --max-latency 5",
        "fofa-search --lut cpu.json --accuracy mine.json --pareto --plot front.svg",
        "fofa-search --lut cpu.json --accuracy mine.json --max-latency 5 --run runs/mine --verify",
        "fofa-search --lut cpu.json --accuracy mine.json --max-latency 5 --run runs/mine "
        "--export network.onnx",
    )
)
def search(
    lut: Annotated[
        list[Path] | None,
        typer.Option(help="Latency table; may be repeated: one network is found for each."),
    ] = None,
    accuracy: Annotated[
        list[Path] | None,
        typer.Option(
            help="Accuracy table, as fofa-eval writes it; a second one may be of int8, for latency "
            "tables of int8."
        ),
    ] = None,
    predictor: Annotated[
        Path | None,
        typer.Option(help="Accuracy predictor in place of a table (fofa-predictor's, or OFA's)."),
    ] = None,
    max_latency: Annotated[
        list[float] | None,
        typer.Option(help="Limit in ms, inclusive; once for all tables, or once for each."),
    ] = None,
    max_macs: Annotated[
        float | None, typer.Option(help="Limit on multiply-adds of one image, such as 300e6.")
    ] = None,
    max_params: Annotated[
        float | None, typer.Option(help="Limit on the network's parameters, such as 3e6.")
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            help="Limit on the ONNX file, in bytes or with a unit: 4e6, 4MB, 4MiB. In the number "
            "type of the latency table, else of the accuracy."
        ),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(
            help="Limit on the activations of one image that are held at once, such as 2MB."
        ),
    ] = None,
    max_energy: Annotated[
        float | None,
        typer.Option(
            help="Limit on the energy of one image in mJ, by latency tables that have energies "
            "(fofa-profile --energy)."
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Only latency tables of this number type, such as int8; or any: one network for "
            "each device, the best in any of its tables' types."
        ),
    ] = None,
    space: Annotated[
        str, typer.Option(help="With a predictor: compound (all are looked at) or elastic.")
    ] = "compound",
    resolutions: Annotated[
        str | None, typer.Option(help="Only these, comma-separated, as the accuracy names them.")
    ] = None,
    joint: Annotated[
        bool, typer.Option("--joint", help="One network within the limits of all tables.")
    ] = False,
    margin: Annotated[
        str,
        typer.Option(
            help="How sure a single network is to keep the limit: 90 or 95 (percent; `noise` is "
            "95), other sessions and drift included. none: the predicted latency keeps it."
        ),
    ] = "none",
    within_error: Annotated[
        bool,
        typer.Option(
            "--within-error",
            help="Of the networks within one standard error of the most accurate (by the number of "
            "test images; on the same images, where fofa-eval --outcomes kept them), the fastest.",
        ),
    ] = False,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Show the Pareto front (within the limits, if any).")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the Pareto front: .png, .svg or .pdf.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the evolutionary search.")] = 0,
    verify_: Annotated[
        bool,
        typer.Option("--verify", help="Build the winner and time it on this device (needs --run)."),
    ] = False,
    run: Annotated[
        Path | None, typer.Option(help="Run folder that --verify and --export build from.")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(help="Write the winner to this ONNX file, checked, as fofa-export does."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (schema fofa.search/1).")] = (
        False
    ),
) -> None:
    """Find the most accurate network within a budget."""
    budgets = Budgets(
        params=max_params,
        size=None if max_size is None else parse_bytes(max_size, "--max-size"),
        memory=None if max_memory is None else parse_bytes(max_memory, "--max-memory"),
    )
    single = max_macs is not None or max_energy is not None
    limits = bool(max_latency or single or budgets.limited)
    if not (limits or pareto or plot):
        raise UserError("give a limit (--max-latency, --max-macs), or --pareto for the whole front")
    if verify_ and (run is None or not max_latency):
        raise UserError("--verify needs --run and --max-latency")
    if export is not None:
        _check_export(export, run, limits=limits)
    if plot is not None:
        check_plot_path(plot)
    opened = Run.open(run) if run is not None else None
    sources = _sources(accuracy or [], predictor)
    plain = Problem(
        accuracy=sources[0].accuracy,
        targets=read_targets(lut or [], max_latency or []),
        max_macs=max_macs,
        max_energy_mj=max_energy,
        space=_space(space),
        resolutions=parse_resolutions(resolutions),
        joint=joint,
        margin=margin_of(margin),
        budgets=budgets,
        seed=seed,
        within_error=within_error,
    )
    problems = problems_by_type(plain, sources, dtype)
    outcome = solve_types(problems, dtype=dtype, pareto=pareto or plot is not None)
    if plot is not None:
        plot_front(outcome, plot)
    if export is not None and opened is not None:
        _export(outcome, opened, sources, export)
    verdicts = _verify(outcome, opened, plain.targets) if verify_ and opened else []
    if as_json:
        result = outcome.to_dict()
        if verify_:
            result["verification"] = [asdict(verdict) for verdict in verdicts]
        say_json(result)
    else:
        console = stdout_console()
        print_outcome(outcome, console)
        if verdicts:
            from fofa.verify import print_verdicts

            print_verdicts(verdicts, console)
    if any(verdict.holds is False for verdict in verdicts):
        raise typer.Exit(1)


def read_targets(luts: Sequence[Path], limits: Sequence[float]) -> tuple[Target, ...]:
    """The latency tables with their limits: one limit for all, or one for each.

    Raises:
        UserError: if the numbers of tables and limits do not fit, or a table is wrong.
    """
    if limits and not luts:
        raise UserError("--max-latency needs a latency table: give --lut")
    if len(limits) not in (0, 1, len(luts)):
        raise UserError(
            f"{len(limits)} latency limits for {len(luts)} tables: give one for all, or one for "
            "each"
        )
    each = list(limits) if len(limits) == len(luts) else list(limits) * len(luts)
    return tuple(
        Target(name=str(path), lut=Lut.read(path), limit_ms=each[index] if each else None)
        for index, path in enumerate(luts)
    )


def _sources(tables: Sequence[Path], predictor: Path | None) -> list[Source]:
    """Where accuracy comes from: tables, or a predictor."""
    if tables and predictor is None:
        read = [(path, AccuracyTable.read(path)) for path in tables]
        return [Source(table, read_outcomes(path, table)) for path, table in read]
    if predictor is not None and not tables:
        return [Source(load_predictor(predictor))]
    raise UserError("give either an accuracy table or a predictor (--accuracy or --predictor)")


def _check_export(out: Path, run: Path | None, *, limits: bool) -> None:
    """Refuse what cannot be exported before anything is looked for."""
    if run is None or not limits:
        raise UserError("--export needs --run and a limit (--max-latency or --max-macs)")
    if out.suffix.lower() != ".onnx":
        raise UserError(f"--export {out}: expected a file ending in .onnx; fofa-export writes more")
    check_replaceable(out)


def _export(outcome: Outcome, run: Run, sources: Sequence[Source], out: Path) -> None:
    """Write the winner as `fofa-export` does, calibrated as the table was; in int8 where it is."""
    winners = {(row.architecture, row.dtype == "int8") for row in outcome.results}
    names = [name for name, _ in winners]
    if len(names) > 1:
        raise UserError(
            f"--export writes one network, and {len(names)} were found, one for each table; search "
            "with one table, or with --joint"
        )
    from fofa.data import open_data
    from fofa.export.exporter import ExportRequest, export_network
    from fofa.runtime.int8 import parse_scheme

    [(name, int8)] = winners
    chosen: dict[str, Any] = {}
    source = next(source.accuracy for source in sources if source.is_int8 == int8)
    if isinstance(source, AccuracyTable):
        chosen["calibration_images"] = source.evaluation.calibration_images
        if (record := source.evaluation.int8) is not None:
            chosen["dtype"] = "int8"
            chosen["quantisation_images"] = record.range_images
            chosen["scheme"] = parse_scheme(
                record.calibration, record.granularity, record.float_parts, record.weight_bits
            )
    console = stderr_console()
    with console.status(f"exporting {name}"):
        result = export_network(
            ExportRequest(
                run=run,
                architecture=parse_architecture(name, run.record.supernet.family),
                out=out,
                data=open_data(run.record.data_spec),
                **chosen,
            )
        )
    measured = "" if result.accuracy is None else f", top-1 {result.accuracy.top1:.2f}% measured"
    console.print(f"{out}: {name}, checked{measured}", soft_wrap=True)


def _verify(outcome: Outcome, run: Run, targets: Sequence[Target]) -> list[Verdict]:
    from fofa.verify import verify

    with stderr_console().status("timing the winner on this device"):
        luts = {target.name: target.lut for target in targets}
        return [verify(row, run, luts[row.lut or ""]) for row in outcome.results]


def _space(name: str) -> SpaceKind:
    match name:
        case "compound" | "elastic":
            return name
    raise UserError(f"--space {name!r}: expected compound or elastic")


def main() -> None:
    """The program `fofa-search`."""
    run_app(app, "fofa-search")


if __name__ == "__main__":
    main()
