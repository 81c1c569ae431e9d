"""`python -m benchmarks.measuring`: the evidence as a Markdown table on standard output."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.measuring import HEADER, runtime, simulated, tables
from fofa.commands.cli import make_app, run_app

app = make_app("What each fault of a measurement does to the result.")


@app.command()
def evidence(
    lut: Annotated[
        Path, typer.Option(help="Measured table with its raw samples beside it.")
    ] = Path("luts/epyc.json"),
) -> None:
    """Print the evidence; some 15 s, best on a machine that does nothing else."""
    rows = [*simulated.findings(), *tables.findings(lut), *runtime.findings()]
    print(HEADER)
    for finding in rows:
        print(finding.row())


if __name__ == "__main__":
    run_app(app, "benchmarks.measuring")
