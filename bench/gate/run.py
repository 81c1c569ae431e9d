"""What `fofa-bench --check` and `--update-baseline` do, from files to an exit code."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console

from bench.gate.baseline import Baseline, Tolerance, make_baseline
from bench.gate.compare import compare, exit_code
from bench.gate.summary import complaints, github_annotations, junit_xml, markdown_summary, verdict
from bench.tables.collect import Collection
from bench.tables.limits import Constraints
from fofa.files import write_text


def with_overrides(
    tolerance: Tolerance, accuracy_points: float | None, latency_percent: float | None
) -> Tolerance:
    """`tolerance` with what was given on the command line in place of its own."""
    given = {"accuracy_points": accuracy_points, "latency_percent": latency_percent}
    return tolerance.model_copy(update={k: v for k, v in given.items() if v is not None})


def update_baseline(
    path: Path, collection: Collection, constraints: Constraints, tolerance: Tolerance
) -> None:
    """Write the baseline of `collection` to `path`, and say on standard error what is not in it."""
    baseline, notes = make_baseline(collection, constraints, tolerance)
    baseline.write(path)
    warnings = Console(stderr=True, highlight=False)
    for note in dict.fromkeys(notes):
        warnings.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)
    devices = ", ".join(dict.fromkeys(result.lut.device for result in baseline.results))
    limits = sum(len(result.limits) for result in baseline.results)
    print(f"baseline: {path}: {limits} limits on {devices}")


def check_baseline(
    path: Path,
    collection: Collection,
    *,
    accuracy_points: float | None = None,
    latency_percent: float | None = None,
    summary: Path | None = None,
    junit: Path | None = None,
) -> int:
    """Compare with the baseline in `path`, report where asked to, and return the exit code."""
    baseline = Baseline.read(path)
    tolerance = with_overrides(baseline.tolerance, accuracy_points, latency_percent)
    outcomes = compare(baseline, collection, tolerance)
    if summary is not None:
        write_text(summary, markdown_summary(outcomes))
    if junit is not None:
        write_text(junit, junit_xml(outcomes))
    for line in complaints(outcomes):
        print(line)
    print(verdict(outcomes))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in github_annotations(outcomes):
            print(line)
    return exit_code(outcomes)
