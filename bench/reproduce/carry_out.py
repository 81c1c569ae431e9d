"""Carrying a study out: the steps that are not done, in order, each in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from bench.reports.build import COST_TABLE, FIGURES, OTHER_TABLES, build
from bench.reports.pages import write_report
from bench.reproduce.plan import Job, Study, state_of
from bench.tables.collect import collect
from bench.tables.devices import WantedLimits
from fofa.errors import UserError
from fofa.train.stopping import run_child

TRAIN, EVALUATE = "fofa.commands.train", "fofa.commands.evaluate"

Command = Callable[[str, Sequence[str]], int]
"""Runs a module's command line with arguments and returns its exit code."""
Report = Callable[[Study, Path, Console], Path]
"""Makes the report of a study with the latency tables of a folder; returns its page."""


def run_module(module: str, arguments: Sequence[str]) -> int:
    """Run `main` of `module` in a process and wait for it; its exit code (`run_child`)."""
    program = f"from fofa.commands.start import start; start({module!r}, {module!r})"
    return run_child([sys.executable, "-c", program, *arguments])


def report(study: Study, luts_dir: Path, console: Console) -> Path:
    """Write every table that the accuracy tables and latency tables at hand allow."""
    collection = collect(accuracy_dir=study.out / "accuracy", luts_dir=luts_dir)
    tables = [COST_TABLE]
    for name in ("3", "4", "5", OTHER_TABLES):
        try:
            build(collection, tables=[name], figures=[], limits=WantedLimits())
        except UserError as error:
            console.print(f"note: {error}", style="yellow", markup=False, soft_wrap=True)
        else:
            tables.append(name)
    made = build(collection, tables=tables, figures=FIGURES, limits=WantedLimits())
    return write_report(made, study.out)


def carry_out(
    study: Study,
    *,
    luts_dir: Path,
    console: Console,
    command: Command = run_module,
    report: Report = report,
) -> int:
    """Train and evaluate what is not done, then write the report.

    Returns:
        0 when all is done, else the exit code of the step that failed (1 if it was killed).
    """
    jobs = list(study.jobs())
    show_progress(jobs, console)
    for number, job in enumerate(jobs, start=1):
        place = f"[{number}/{len(jobs)}] {job.name}"
        if not state_of(job).trained:
            console.print(f"{place}: training into {job.run}", markup=False, soft_wrap=True)
            code = command(TRAIN, job.train_arguments())
            if code != 0:
                return _stopped(code, f"{place}: training", console)
        if not state_of(job).evaluated:
            console.print(f"{place}: evaluating into {job.table}", markup=False, soft_wrap=True)
            code = command(EVALUATE, job.evaluate_arguments())
            if code != 0:
                return _stopped(code, f"{place}: evaluation", console)
    show_progress(jobs, console)
    page = report(study, luts_dir, console)
    console.print(f"report: {page}", markup=False, soft_wrap=True)
    return 0


def _stopped(code: int, step: str, console: Console) -> int:
    why = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    console.print(
        f"{step} {why}; what is done is kept, the same command goes on from there",
        markup=False,
        soft_wrap=True,
    )
    return 1 if code < 0 else code


def show_progress(jobs: Sequence[Job], console: Console) -> None:
    """What is done and what remains."""
    states = [state_of(job) for job in jobs]
    table = Table("recipe", "budget", "seed", "training", "evaluation", box=box.SIMPLE_HEAD)
    for job, state in zip(jobs, states, strict=True):
        budget = "" if job.budget is None else f"{job.budget:g} h"
        table.add_row(job.recipe, budget, str(job.seed), state.training, state.evaluation)
    console.print(table)
    done = sum(state.trained for state in states) + sum(state.evaluated for state in states)
    console.print(f"{done} of {2 * len(jobs)} steps done")
