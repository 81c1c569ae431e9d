"""What a search found: as records, as JSON (`fofa-search --json`), as a table, as a picture.

Keys of the JSON are stable. At the top: `schema` (`fofa.search/1`), `method` (`exact` or
`evolution`), `seconds` (of searching, tables loaded), `considered` (architectures looked at),
`seed`, `notes` (sentences that must go with the numbers), `results`, `num_alike` (for each result,
how many architectures within its limits have a top-1 within one standard error of the best one's,
itself among them; null for predictions), `pareto` and `other_types` (with `--dtype any`, the best
within the limits by each table that was not taken). A row of these three is one network on one
device; a joint search has a row for each device:

    architecture        name, as the accuracy knows it
    timed_as            name whose latency was looked up; differs only for a declared stand-in
    device, lut         the table's device and file; null where there is none
    method              of the latency: measured, published or estimated
    batch_size          images that the latency is for
    dtype               number type of the network: of the latency table, or, where there is none,
                        of the accuracy
    latency_ms          predicted by the table
    error_percent       the table's own validated error; null if it was not validated
    limit_ms            as given; null for none
    low_ms, high_ms     between what the latency lies for 95% of networks, another session's speed
                        and the machine's drift included; null if it was not validated
    margin              none, 90, 95 or noise (another word for 95): the share of single networks
                        that keep the limit
    top1, top1_source   percent; measured or predicted
    macs, max_macs      of one image
    energy_mj, max_energy
                        of one image, predicted by the table; null where it has no energies
    params, size_bytes, memory_bytes
                        parameters, bytes of the ONNX file (computed, within 1%; without its own
                        description) and the peak of one image's activations in bytes, as
                        `fofa.runtime.footprint` counts it; null where they are not limited
    max_params, max_size, max_memory
                        their limits

With `--verify` there is also `verification`: the fields of `fofa.verify.Verdict` for each result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console, Group, RenderableType
from rich.text import Text

from fofa.errors import UserError
from fofa.files import replacing
from fofa.latency import Method
from fofa.listing import Column, Listing
from fofa.validation import INTERVAL, Margin

SCHEMA = "fofa.search/1"
PLOT_FORMATS = (".png", ".svg", ".pdf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network on one device; fields as in the module's docstring."""

    architecture: str
    timed_as: str
    device: str | None = None
    lut: str | None = None
    method: Method | None = None
    batch_size: int | None = None
    dtype: str | None = None
    latency_ms: float | None = None
    error_percent: float | None = None
    low_ms: float | None = None
    high_ms: float | None = None
    limit_ms: float | None = None
    energy_mj: float | None = None
    margin: Margin
    top1: float
    top1_source: Literal["measured", "predicted"]
    macs: int
    max_macs: float | None
    max_energy: float | None = None
    params: int | None = None
    size_bytes: int | None = None
    memory_bytes: int | None = None
    max_params: float | None = None
    max_size: float | None = None
    max_memory: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything a search found; `results` is empty where nothing was limited."""

    method: Literal["exact", "evolution"]
    results: tuple[Row, ...]
    num_alike: tuple[int | None, ...]
    pareto: tuple[Row, ...]
    notes: tuple[str, ...]
    considered: int
    seconds: float
    seed: int | None
    other_types: tuple[Row, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        return {
            "schema": SCHEMA,
            "method": self.method,
            "seconds": self.seconds,
            "considered": self.considered,
            "seed": self.seed,
            "notes": list(self.notes),
            "results": [asdict(row) for row in self.results],
            "num_alike": list(self.num_alike),
            "pareto": [asdict(row) for row in self.pareto],
            "other_types": [asdict(row) for row in self.other_types],
        }


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Winners, then the front, then how the numbers came about and what must be said of them."""
    parts: list[RenderableType] = []
    if outcome.results:
        parts.append(_listing("Most accurate within the limits", outcome.results))
    if outcome.pareto:
        parts.append(_listing("Pareto front", outcome.pareto, limits=False))
    parts += [
        Text(f"{row.architecture}: {', '.join(amounts)}")
        for row in dict.fromkeys((*outcome.results, *outcome.pareto))
        if (amounts := _amounts(row.params, row.size_bytes, row.memory_bytes))
    ]
    how = f"{outcome.method} search of {outcome.considered:,} architectures"
    if outcome.seed is not None:
        how += f", seed {outcome.seed}"
    parts.append(Text(f"{how}, {outcome.seconds * 1000:.1f} ms"))
    parts += [Text(f"Note: {note}") for note in outcome.notes]
    console.print(Group(*parts))


def check_plot_path(path: Path) -> None:
    """Raise `UserError` unless the file's ending names a picture format."""
    if path.suffix.lower() not in PLOT_FORMATS:
        raise UserError(f"{path}: expected a picture file ending in {', '.join(PLOT_FORMATS)}")


def plot_front(outcome: Outcome, path: Path) -> None:
    """Draw accuracy over cost: one front for each device, the winners marked.

    Raises:
        UserError: if the ending is no picture format, or the file cannot be written.
    """
    check_plot_path(path)
    # The object interface with its own canvas: no display, no global state of pyplot.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    rows = (*outcome.pareto, *outcome.results)
    by_latency = all(row.latency_ms is not None for row in rows)
    for lut in dict.fromkeys(row.lut for row in rows):
        front = [row for row in outcome.pareto if row.lut == lut]
        winners = [row for row in outcome.results if row.lut == lut]
        costs = [_cost(row, by_latency=by_latency) for row in front]
        (line,) = axes.plot(
            costs, [row.top1 for row in front], "o-", ms=4, label=_front_name(rows, lut)
        )
        for row in winners:
            cost = _cost(row, by_latency=by_latency)
            axes.plot(cost, row.top1, "*", ms=14, color=line.get_color(), zorder=3)
            axes.annotate(
                row.architecture if len(row.architecture) <= 12 else "best",
                (cost, row.top1),
                textcoords="offset points",
                xytext=(-10, 4),
                ha="right",  # a front rises to its best from the lower left
            )
            if by_latency and row.limit_ms is not None:
                axes.axvline(row.limit_ms, ls="--", lw=1, color=line.get_color())
    batch = {row.batch_size for row in rows if row.batch_size}
    of = f" (batch {batch.pop()})" if len(batch) == 1 else ""
    axes.set_xlabel(f"latency, ms{of}" if by_latency else "multiply-adds, millions")
    axes.set_ylabel(f"top-1, % ({rows[0].top1_source})" if rows else "top-1, %")
    axes.grid(alpha=0.3)
    if rows:
        axes.legend(loc="lower right")
    axes.set_title("\n".join(outcome.notes), fontsize=7, wrap=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=150)


def _listing(title: str, rows: Sequence[Row], *, limits: bool = True) -> Listing:
    types = len({row.dtype for row in rows}) > 1 or any(row.dtype == "int8" for row in rows)
    shown = []
    for row in rows:
        name = row.architecture
        if row.timed_as != row.architecture:
            name += f"\ntimed at {row.timed_as.rpartition('@')[2]} px"
        device = row.device or "-"
        if types:
            device += f"\n{row.dtype or 'type unknown'}"
        limit = [_limit(row)] if limits else []
        shown.append((name, device, _latency(row), *limit, _top1(row), f"{row.macs / 1e6:.1f}M"))
    numbers = ("latency", *(["limit"] if limits else []), "top-1", "MACs")
    columns = [Column("architecture"), Column("device")]
    columns += [Column(name, is_number=True) for name in numbers]
    return Listing(title, columns, shown)


def _latency(row: Row) -> str:
    """Latency, the interval that holds 95% of networks, and how it was obtained."""
    if row.latency_ms is None:
        return "-"
    interval = "error unknown"
    if row.low_ms is not None and row.high_ms is not None:
        interval = f"{row.low_ms:.3f} to {row.high_ms:.3f} ms in {INTERVAL:.0%}"
    batch = f" (batch {row.batch_size})" if row.batch_size != 1 else ""
    energy = "" if row.energy_mj is None else f"\n{row.energy_mj:.4g} mJ an image"
    return f"{row.latency_ms:.3f} ms{batch} {row.method}\n{interval}{energy}"


def _limit(row: Row) -> str:
    limits = [] if row.limit_ms is None else [f"{row.limit_ms:g} ms"]
    if row.max_macs is not None:
        limits.append(f"{row.max_macs / 1e6:g}M MACs")
    if row.max_energy is not None:
        limits.append(f"{row.max_energy:g} mJ")
    limits += _amounts(row.max_params, row.max_size, row.max_memory)
    if row.margin != "none":
        limits.append(f"margin: {row.margin}")
    return "\n".join(limits) or "-"


def _amounts(params: float | None, size: float | None, memory: float | None) -> list[str]:
    """What budgets are of, a line each, where it is given."""
    named = ((params, "M params"), (size, " MB file"), (memory, " MB memory"))
    return [f"{number / 1e6:.3g}{unit}" for number, unit in named if number is not None]


def _top1(row: Row) -> str:
    return f"{row.top1:.2f}%\n{row.top1_source}"


def _cost(row: Row, *, by_latency: bool) -> float:
    return row.latency_ms if by_latency and row.latency_ms is not None else row.macs / 1e6


def _front_name(rows: tuple[Row, ...], lut: str | None) -> str:
    row = next(row for row in rows if row.lut == lut)
    return f"{row.device} ({row.method})" if row.device else "all architectures"
