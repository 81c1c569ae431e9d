"""A search's outcome as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from fofa.search.outcome import Outcome, Row, Verdict


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Winners, then the front, then how the numbers came about and what must be said of them."""
    parts: list[RenderableType] = []
    if outcome.results:
        parts.append(_table("Most accurate within the limits", outcome.results))
    if outcome.pareto:
        parts.append(_table("Pareto front", outcome.pareto, limits=False))
    how = f"{outcome.method} search of {outcome.considered:,} architectures"
    if outcome.seed is not None:
        how += f", seed {outcome.seed}"
    parts.append(Text(f"{how}, {outcome.seconds * 1000:.1f} ms"))
    parts += [Text(f"Note: {note}") for note in outcome.notes]
    console.print(Group(*parts))


def print_verdicts(verdicts: Sequence[Verdict], console: Console) -> None:
    """Predicted and measured latency side by side, with a verdict on the limit."""
    if not verdicts:
        return
    table = Table(title="Verified on this device", title_justify="left")
    table.add_column("architecture", overflow="fold")
    for name in ("predicted", "measured", "error", "limit"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for verdict in verdicts:
        words = {True: "within the limit", False: "over the limit", None: "no limit"}
        table.add_row(
            verdict.architecture,
            f"{verdict.predicted_ms:.3f} ms",
            f"{verdict.measured_ms:.3f} ms ± {verdict.noise_percent:.1f}%",
            f"{verdict.error_percent:+.1f}%",
            "-" if verdict.limit_ms is None else f"{verdict.limit_ms:g} ms",
            words[verdict.holds],
        )
    console.print(table)
    for verdict in verdicts:
        for warning in verdict.warnings:
            console.print(f"Note: {warning}")


def _table(title: str, rows: Sequence[Row], *, limits: bool = True) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("architecture", overflow="fold")
    table.add_column("device")
    for name in ("latency", *(["limit"] if limits else []), "top-1", "MACs"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        name = row.architecture
        if row.timed_as != row.architecture:
            name += f"\n(timed as {row.timed_as})"
        cells = [latency(row), *([_limit(row)] if limits else []), _top1(row)]
        table.add_row(name, row.device or "-", *cells, f"{row.macs / 1e6:.1f}M")
    return table


def latency(row: Row) -> str:
    """Latency with its uncertainty and how it was obtained, such as `5.02 ms ± 1.3%, measured`."""
    if row.latency_ms is None:
        return "-"
    error = "error unknown" if row.error_percent is None else f"± {row.error_percent:.1f}%"
    batch = f" (batch {row.batch_size})" if row.batch_size != 1 else ""
    return f"{row.latency_ms:.3f} ms{batch} {error}\n{row.method}"


def _limit(row: Row) -> str:
    limits = [] if row.limit_ms is None else [f"{row.limit_ms:g} ms"]
    if row.max_macs is not None:
        limits.append(f"{row.max_macs / 1e6:g}M MACs")
    if row.margin != "none":
        limits.append(f"margin: {row.margin}")
    return "\n".join(limits) or "-"


def _top1(row: Row) -> str:
    return f"{row.top1:.2f}%\n{row.top1_source}"
