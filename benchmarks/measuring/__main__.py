"""`python -m benchmarks.measuring`: the evidence as a Markdown table on standard output;
`python -m benchmarks.measuring sessions`: whether a table holds for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.measuring import HEADER, runtime, simulated, tables
from fofa.commands.cli import make_app, run_app
from fofa.latency import Lut

app = make_app("What each fault of a measurement does to the result, and whether tables hold.")
Table = Annotated[Path, typer.Option(help="Measured table with its raw samples beside it.")]
TABLE = Path("luts/epyc.json")


@app.callback(invoke_without_command=True)
def evidence(context: typer.Context, lut: Table = TABLE) -> None:
    """Print the evidence; some 15 s, best on a machine that does nothing else."""
    if context.invoked_subcommand is not None:
        return
    rows = [*simulated.findings(), *tables.findings(lut), *runtime.findings()]
    print(HEADER)
    for finding in rows:
        print(finding.row())


@app.command()
def sessions(
    lut: Table = TABLE,
    networks: Annotated[int, typer.Option(min=2, help="Random networks to export.")] = 16,
    runs: Annotated[int, typer.Option(min=1, help="Recorded runs of each.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the choice of networks.")] = 0,
) -> None:
    """Time networks that torch.onnx exported with a plain loop in another process, and say how many
    lie inside the interval that the table states; a minute or two."""
    from benchmarks.measuring.sessions import meet, report

    table = Lut.read(lut)
    print(report(meet(table, networks, runs, seed)))
    if (reasons := table.instability) is not None:
        print(f"the table is unstable: {reasons}")


if __name__ == "__main__":
    run_app(app, "benchmarks.measuring")
