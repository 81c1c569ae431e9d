"""Does it pay to choose the network and its number type together?

    python -m benchmarks.number_types RUN --accuracy fp32.json --accuracy int8.json \\
        --lut cpu.json --lut cpu-int8.json --out DIR

Within some limits, three ways to an int8 file: the most accurate network in fp32, quantised
afterwards, which is what people do; the most accurate one in int8 within the time that this one
takes in int8 by the table; and the most accurate one in int8 within the limit itself. Beside them
the fp32 network as it is. Every file is exported, its accuracy is that of the file on the test
images, and all files are timed in turn by a plain loop that knows nothing of the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from benchmarks.measuring.sessions import time_files
from fofa import api
from fofa.accuracy import AccuracyTable
from fofa.commands.cli import make_app, run_app, stdout_console
from fofa.errors import UserError
from fofa.latency import Lut
from fofa.precision import Precision
from fofa.runs import Run

app = make_app("Whether it pays to choose the network and its number type together.")

SHARES = (0.1, 0.3, 0.6, 0.9)
"""Of the networks that each limit lets through in fp32."""
ROUNDS, RUNS = 5, 100
"""Every file is timed so often, with so many runs each time."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Accuracy and latency of one number type."""

    accuracy: AccuracyTable
    lut: Lut

    def best(self, limit_ms: float) -> str:
        """The most accurate network within it.

        Raises:
            UserError: if there is none.
        """
        return api.search(self.lut, self.accuracy, max_latency_ms=limit_ms).architecture

    @property
    def latencies(self) -> dict[str, float]:
        """Of all networks, in ms."""
        found = (entry.architecture for entry in self.accuracy.architectures)
        return {one.name: self.lut.latency_ms(one) for one in found}


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to a network within a limit."""

    limit_ms: float
    how: str
    architecture: str
    dtype: Precision

    @property
    def file_name(self) -> str:
        """Of its exported network."""
        return f"{self.architecture}-{self.dtype}.onnx"


def choices(plain: Tables, quantised: Tables) -> list[Choice]:
    """All ways at all limits."""
    latencies = quantised.latencies
    found = []
    for limit in np.quantile(list(plain.latencies.values()), SHARES).tolist():
        chosen = plain.best(limit)
        found += [
            Choice(limit, "fp32", chosen, "fp32"),
            Choice(limit, "fp32, quantised", chosen, "int8"),
            Choice(limit, "int8, as fast", quantised.best(latencies[chosen]), "int8"),
            Choice(limit, "int8", quantised.best(limit), "int8"),
        ]
    return found


def pair(accuracies: Sequence[Path], luts: Sequence[Path]) -> tuple[Tables, Tables]:
    """The tables of fp32 and those of int8.

    Raises:
        UserError: if there is not one of each.
    """
    tables = {table.dtype: table for table in map(api.load_accuracy, accuracies)}
    timed = {lut.protocol.dtype: lut for lut in map(api.load_lut, luts)}
    if set(tables) != {"fp32", "int8"} or set(timed) != {"fp32", "int8"}:
        raise UserError("expected --accuracy twice and --lut twice: once of fp32, once of int8")
    first, second = (Tables(tables[dtype], timed[dtype]) for dtype in ("fp32", "int8"))
    return first, second


def export_all(
    run: Run, wanted: Sequence[Choice], out: Path, test_images: int | None
) -> dict[str, float]:
    """Top-1 in percent by file name; files that are there are measured again, not trusted."""
    found: dict[str, float] = {}
    for choice in wanted:
        if choice.file_name in found:
            continue
        written = api.export(
            run,
            choice.architecture,
            out / choice.file_name,
            dtype=choice.dtype,
            fixed_batch=1,
            test_images=test_images,
        )
        assert written.accuracy is not None
        found[choice.file_name] = written.accuracy.top1
    return found


def time_in_turn(names: Sequence[str], out: Path, threads: int) -> dict[str, float]:
    """Milliseconds by file name: the median over rounds, each of which times every file."""
    files = [out / name for name in names] * ROUNDS
    times = np.array(time_files(files, threads, RUNS)).reshape(ROUNDS, len(names))
    return dict(zip(names, np.median(times, axis=0).tolist(), strict=True))


@app.command()
def number_types(
    run: Annotated[Path, typer.Argument(help="Run folder of a trained supernet.")],
    accuracy: Annotated[list[Path], typer.Option(help="Accuracy table; of fp32, and of int8.")],
    lut: Annotated[list[Path], typer.Option(help="Latency table; of fp32, and of int8.")],
    out: Annotated[Path, typer.Option(help="Folder for the exported files.")],
    test_images: Annotated[int | None, typer.Option(help="Only so many test images.")] = None,
) -> None:
    """The best network in int8 against the best in fp32, quantised afterwards."""
    plain, quantised = pair(accuracy, lut)
    wanted = choices(plain, quantised)
    out.mkdir(parents=True, exist_ok=True)
    top1 = export_all(api.open_run(run), wanted, out, test_images)
    times = time_in_turn(list(top1), out, plain.lut.protocol.threads or 1)
    shown = Table("limit, ms", "way", "network", "measured, ms", "top-1 of the file, %", box=None)
    for choice in wanted:
        name = choice.file_name
        cells = f"{choice.limit_ms:.3f}", choice.how, choice.architecture
        shown.add_row(*cells, f"{times[name]:.3f}", f"{top1[name]:.2f}")
    stdout_console(soft_wrap=True).print(shown)


def main() -> None:
    """The command line."""
    run_app(app, "python -m benchmarks.number_types")


if __name__ == "__main__":
    main()
