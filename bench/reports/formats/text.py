"""How a cell's parts read as text; every output format takes these and adds its own markup."""

from __future__ import annotations

from bench.tables.model import Cell, Choice, Column


def number(value: float, column: Column) -> str:
    """A number with the column's decimals; whole ones of a counting column without any."""
    if column.unit == "" and value == round(value):
        return f"{value:.0f}"
    suffix = column.unit if column.unit == "x" else ""
    return f"{value:.{column.decimals}f}{suffix}"


def head_parts(column: Column) -> list[str]:
    """The column's title, and what the paper's numbers in it are of, where that differs."""
    return [column.title, *([f"paper: {column.paper_title}"] if column.paper_title else [])]


def main_text(cell: Cell, column: Column) -> str:
    """`72.02`, `72.02 ± 0.13`, or a dash where there is no number."""
    if cell.value is None:
        return "–"
    spread = f" ± {cell.spread:.{column.decimals}f}" if cell.spread is not None else ""
    return number(cell.value, column) + spread


def architecture_text(choice: Choice) -> str:
    """`23432@160`; `23432@40→160` where latency was taken at larger images than accuracy."""
    if choice.timed_as == choice.architecture:
        return choice.architecture
    return f"{choice.architecture}→{choice.timed_as.rpartition('@')[2]}"


def latency_text(choice: Choice) -> str:
    """The predicted latency with four significant digits."""
    return f"{choice.latency_ms:.4g} ms"


def detail_parts(cell: Cell) -> list[str]:
    """The chosen architecture and its latency, or why there is no number."""
    if cell.choices:
        return [architecture_text(cell.choices[0]), latency_text(cell.choices[0])]
    return [cell.note] if cell.note else []


def paper_number(cell: Cell, column: Column) -> str | None:
    """The paper's number, with as many decimals as the paper prints."""
    if cell.paper is None:
        return None
    decimals = 2 if column.limit_ms is not None else 1 if column.unit else 0
    return number(cell.paper, column.model_copy(update={"decimals": decimals}))


def paper_text(cell: Cell, column: Column) -> str | None:
    """`paper 72.02`, None where the paper has no number."""
    theirs = paper_number(cell, column)
    return None if theirs is None else f"paper {theirs}"
