"""What `fofa run` says at its end, in a few lines and on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fofa.accuracy import AccuracyTable
from fofa.files import read_json, write_text
from fofa.latency import Lut
from fofa.pipeline.config import Config
from fofa.pipeline.steps import (
    ACCURACY,
    EXPORTED,
    FRONT,
    LATENCY,
    NETWORK,
    PLOT,
    WINNER,
    Steps,
    first_row,
)
from fofa.plain_text import one_line
from fofa.progress import duration

REPORT = "report.md"


def verdict(config: Config) -> str:
    """One line: the network, its accuracy and its latency."""
    out = Path(config.out)
    row = first_row(out / WINNER, "results")
    return one_line(
        f"{out / NETWORK}: {row['architecture']}, {row['top1']:.2f}% top-1, {_latency(row)} "
        f"({row['method']}) on {row['device']}, limit {row['limit_ms']:g} ms"
    )


def write_report(config: Config, steps: Steps) -> Path:
    """Write the page; its path."""
    out = Path(config.out)
    path = out / REPORT
    write_text(path, "\n".join([*_result(config, out), *_front(out), *_notes(out), *_how(steps)]))
    return path


def _result(config: Config, out: Path) -> list[str]:
    row = first_row(out / WINNER, "results")
    table, lut = AccuracyTable.read(out / ACCURACY), Lut.read(out / LATENCY)
    exported = read_json(out / EXPORTED)
    hours, unit = table.training.spent
    lines = [
        f"# The most accurate network within {row['limit_ms']:g} ms",
        "",
        f"`{NETWORK}` holds {_code(row['architecture'])}.",
        "",
        "| | |",
        "|---|---|",
        f"| top-1 | {row['top1']:.2f}% of {table.evaluation.test_images} images that training did "
        f"not see ({_code(config.data)}) |",
        f"| latency | {_latency(row)}, {lut.method} on {_code(row['device'])} |",
        f"| limit | {row['limit_ms']:g} ms"
        f"{'' if config.max_latency else ' (the middle of what is possible; set max_latency)'} |",
        f"| size | {row['macs'] / 1e6:.1f} M multiply-adds |",
        f"| training | {_code(table.recipe)}, {hours:.3g} {unit} on "
        f"{_code(table.training.device)} |",
    ]
    if isinstance(difference := exported.get("max_difference"), float):
        lines.append(f"| file | logits within {difference:.1e} of PyTorch's in ONNX Runtime |")
    return [*lines, ""]


def _front(out: Path) -> list[str]:
    rows = read_json(out / FRONT)["pareto"]
    lines = [
        "## What else is possible",
        "",
        f"![Pareto front]({PLOT})",
        "",
        "| network | latency | top-1 |",
        "|---|---|---|",
    ]
    lines += [
        f"| {_code(row['architecture'])} | {row['latency_ms']:.3f} ms | {row['top1']:.2f}% |"
        for row in rows
    ]
    return [*lines, ""]


def _notes(out: Path) -> list[str]:
    notes = read_json(out / WINNER)["notes"]
    return [*(f"Note: {one_line(note)}" for note in notes), ""] if notes else []


def _how(steps: Steps) -> list[str]:
    lines = ["## How it was made", "", "| step | time | command |", "|---|---|---|"]
    lines += [
        f"| {name} | {duration(done.seconds)} | {_code('fofa ' + ' '.join(done.arguments))} |"
        for name, done in steps.done.items()
    ]
    return [*lines, ""]


def _latency(row: dict[str, Any]) -> str:
    interval = ""
    if row.get("low_ms") is not None and row.get("high_ms") is not None:
        interval = f" (95% of cases: {row['low_ms']:.3f} to {row['high_ms']:.3f})"
    return f"{row['latency_ms']:.3f} ms{interval}"


def _code(text: object) -> str:
    """Text in a cell as code, whatever it holds."""
    plain = one_line(str(text)).replace("|", "\\|")
    fence = "``" if "`" in plain else "`"
    return f"{fence} {plain} {fence}" if "`" in plain else f"{fence}{plain}{fence}"
