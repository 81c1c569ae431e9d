"""The Pareto front as a picture."""

from __future__ import annotations

from pathlib import Path

from fofa.errors import UserError
from fofa.files import replacing
from fofa.search.outcome import Outcome, Row

FORMATS = (".png", ".svg", ".pdf")


def check_plot_path(path: Path) -> None:
    """Raise `UserError` unless the file's ending names a picture format."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: expected a picture file ending in {', '.join(FORMATS)}")


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
        (line,) = axes.plot(costs, [row.top1 for row in front], "o-", ms=4, label=_label(rows, lut))
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


def _cost(row: Row, *, by_latency: bool) -> float:
    return row.latency_ms if by_latency and row.latency_ms is not None else row.macs / 1e6


def _label(rows: tuple[Row, ...], lut: str | None) -> str:
    row = next(row for row in rows if row.lut == lut)
    return f"{row.device} ({row.method})" if row.device else "all architectures"
