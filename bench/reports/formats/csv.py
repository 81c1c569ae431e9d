"""Tables as CSV in long form: one line per method and column, every number in its own field."""

from __future__ import annotations

import csv as csv_module
import io

from bench.tables.model import Cell, Column, Row, Table

FIELDS = (
    "table",
    "group",
    "column",
    "limit_ms",
    "recipe",
    "method",
    "value",
    "unit",
    "spread",
    "seeds",
    "best",
    "architecture",
    "timed_as",
    "latency_ms",
    "paper_value",
    "paper_column",
    "note",
    "caption",
)


def csv(table: Table) -> str:
    """The table's text; missing numbers are empty fields."""
    buffer = io.StringIO()
    writer = csv_module.DictWriter(buffer, FIELDS, lineterminator="\n")
    writer.writeheader()
    for row in table.rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            writer.writerow(_record(table, row, column, cell))
    return buffer.getvalue()


def _record(table: Table, row: Row, column: Column, cell: Cell) -> dict[str, object]:
    chosen = cell.choices[0] if cell.choices else None
    return {
        "table": table.name,
        "group": column.group,
        "column": column.title,
        "limit_ms": column.limit_ms,
        "recipe": row.recipe,
        "method": row.method,
        "value": cell.value,
        "unit": column.unit,
        "spread": cell.spread,
        "seeds": cell.seeds,
        "best": cell.best,
        "architecture": chosen.architecture if chosen else None,
        "timed_as": chosen.timed_as if chosen else None,
        "latency_ms": chosen.latency_ms if chosen else None,
        "paper_value": cell.paper,
        "paper_column": (column.paper_title or column.title) if cell.paper is not None else None,
        "note": cell.note,
        # On every line, because lines of such files are taken out and put together.
        "caption": " ".join(table.caption),
    }
