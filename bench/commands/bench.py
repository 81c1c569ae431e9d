"""`fofa-bench`: the paper's tables and figures from accuracy tables and latency tables."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from bench.gate.baseline import Baseline, Tolerance, make_baseline
from bench.gate.compare import compare, exit_code
from bench.gate.summary import (
    allowances,
    complaints,
    github_annotations,
    junit_xml,
    markdown_summary,
    verdict,
)
from bench.reports.build import FIGURES, TABLES, WantedMatrix, build, parse_choice
from bench.reports.screen import show
from bench.tables.collect import Collection, collect
from bench.tables.devices import WantedLimits, parse_limits
from bench.tables.rivals import read_rivals
from bench.tables.rows import parse_compare
from fofa.commands.cli import (
    make_app,
    run_app,
    say,
    say_to_ci,
    stderr_console,
    stdout_console,
)
from fofa.commands.help import ending
from fofa.errors import UserError
from fofa.files import write_text

app = make_app("Regenerate the paper's tables and figures, or check results against a baseline.")


@app.command(
    epilog=ending(
        "fofa-bench --tables 3,4,5 --out reports",
        "fofa-bench --lut cpu.json --accuracy mine.json --tables other --figures 4",
        "fofa-bench --update-baseline baseline.json",
        "fofa-bench --check baseline.json --summary summary.md",
    )
)
def bench(
    tables: Annotated[
        str,
        typer.Option(
            help="Tables to make: some of 2,3,4,5 and other (devices that are not the paper's), "
            "or none."
        ),
    ] = ",".join(TABLES),
    figures: Annotated[
        str,
        typer.Option(
            help="Figures to make: some of 1, 4 and cost (accuracy against training cost, with the "
            "cost ratios at equal accuracy), or none. Pareto fronts come with each table."
        ),
    ] = ",".join(FIGURES),
    compare_: Annotated[
        str | None,
        typer.Option(
            "--compare",
            help="Compare recipes at an equal training budget (budget) or at equal shares of their "
            "epochs (epochs). By default budget where accuracy tables have one.",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            help="Training budget in hours to compare at; by default the largest common one."
        ),
    ] = None,
    devices: Annotated[
        bool,
        typer.Option(
            "--devices",
            help="Make the matrix of all latency tables, too: how often the best network changes, "
            "and what one chosen for another device costs.",
        ),
    ] = False,
    recipe: Annotated[
        str | None,
        typer.Option(help="With --devices: whose accuracy; by default the most accurate one's."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("reports"),
    accuracy: Annotated[
        list[Path] | None,
        typer.Option(
            "--accuracy",
            help="A further accuracy table; may be repeated. Takes the place of the folder's of "
            "the same recipe, seed and data.",
        ),
    ] = None,
    lut: Annotated[
        list[Path] | None,
        typer.Option(
            "--lut",
            help="A further latency table; may be repeated. Takes the place of the folder's of "
            "the same device.",
        ),
    ] = None,
    rivals: Annotated[
        list[Path] | None,
        typer.Option(
            help="Networks to compare with the fronts of their device: JSON of name, latency_ms, "
            "top1, cost_hours and source of each; may be repeated."
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check",
            metavar="BASELINE",
            help="Make no report: compare with this baseline. Exit code 0 held, 1 regressed, "
            "2 not comparable.",
        ),
    ] = None,
    update_baseline: Annotated[
        Path | None,
        typer.Option(
            "--update-baseline",
            metavar="BASELINE",
            help="Make no report: write this baseline from the tables at hand.",
        ),
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option(help="With --check: a Markdown summary for a pull request, to this file."),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(help="With --check: JUnit XML, to this file.")
    ] = None,
    accuracy_tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=100,
            help="Points of top-1 that may be lost. By default the baseline's, 0.2 in a new one.",
        ),
    ] = None,
    latency_tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1000,
            help="Percent by which a latency may rise, or both tables' own errors together if "
            "that is more (the new one counted up to the baseline's). By default the baseline's, "
            "3 in a new one.",
        ),
    ] = None,
    constraints: Annotated[
        str | None,
        typer.Option(
            help="Latency limits: paper, matched (as strict as the paper's on the Note10), or "
            "milliseconds such as 15,20,25. By default the paper's on the paper's own hardware, "
            "matched ones elsewhere."
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Print the whole captions; the report and its files have them in any case.",
        ),
    ] = False,
    accuracy_dir: Annotated[
        Path, typer.Option(help="Folder of accuracy tables (fofa-eval makes them).")
    ] = Path("reports/accuracy"),
    luts_dir: Annotated[
        Path, typer.Option(help="Folder of latency tables (fofa-profile makes them).")
    ] = Path("luts"),
) -> None:
    """Regenerate the paper's tables and figures, or check results against a baseline."""
    limits = parse_limits(constraints)
    wanted_tables = parse_choice(tables, TABLES, "tables")
    wanted_figures = parse_choice(figures, FIGURES, "figures")
    rows = parse_compare(compare_, budget)
    if recipe is not None and not devices:
        raise UserError("--recipe goes with --devices")
    if check is not None and update_baseline is not None:
        raise UserError("--check and --update-baseline exclude each other: check first")
    if check is None and (summary is not None or junit is not None):
        raise UserError("--summary and --junit go with --check")
    collection = collect(
        accuracy_dir=accuracy_dir, luts_dir=luts_dir, accuracy=accuracy or [], luts=lut or []
    )
    given = {"accuracy_points": accuracy_tolerance, "latency_percent": latency_tolerance}
    tolerance = {name: value for name, value in given.items() if value is not None}
    if check is not None:
        raise typer.Exit(_check(check, collection, tolerance, summary, junit))
    if update_baseline is not None:
        _update(update_baseline, collection, limits, Tolerance().model_copy(update=tolerance))
        return
    report = build(
        collection,
        tables=wanted_tables,
        figures=wanted_figures,
        limits=limits,
        rows=rows,
        matrix=WantedMatrix(recipe) if devices else None,
        rivals=read_rivals(rivals or []),
    )
    from bench.reports.pages import write_report

    page = write_report(report, out)
    console = stdout_console()
    show(report.tables, console, verbose=verbose)
    _note(report.notes)
    console.print(f"report: {page}", soft_wrap=True)


def _check(
    path: Path,
    collection: Collection,
    tolerance: dict[str, float],
    summary: Path | None,
    junit: Path | None,
) -> int:
    """Compare with the baseline in `path`, report where asked to, and return the exit code."""
    baseline = Baseline.read(path)
    allowed = baseline.tolerance.model_copy(update=tolerance)
    comparisons = compare(baseline, collection, allowed)
    if summary is not None:
        write_text(summary, markdown_summary(comparisons))
    if junit is not None:
        write_text(junit, junit_xml(comparisons))
    for line in complaints(comparisons):
        say(line)
    if (rises := allowances(comparisons)) is not None:
        say(rises)
    say(verdict(comparisons))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in github_annotations(comparisons):
            say_to_ci(line)
    return exit_code(comparisons)


def _update(path: Path, collection: Collection, limits: WantedLimits, tolerance: Tolerance) -> None:
    """Write the baseline of `collection` to `path`, and say on standard error what is not in it."""
    baseline, notes = make_baseline(collection, limits, tolerance)
    baseline.write(path)
    _note(notes)
    devices = ", ".join(dict.fromkeys(entry.lut.device for entry in baseline.results))
    count = sum(len(entry.limits) for entry in baseline.results)
    say(f"baseline: {path}: {count} limits on {devices}")


def _note(notes: Iterable[str]) -> None:
    warnings = stderr_console()
    for note in dict.fromkeys(notes):
        warnings.print(f"note: {note}", style="yellow", soft_wrap=True)


def main() -> None:
    """The program `fofa-bench`."""
    run_app(app, "fofa-bench")


if __name__ == "__main__":
    main()
