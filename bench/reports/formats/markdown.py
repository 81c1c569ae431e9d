"""Tables as GitHub-flavoured Markdown: one line of cells per method, parts under each other."""

from __future__ import annotations

from bench.reports.formats import text
from bench.tables.model import Cell, Column, Table


def markdown(table: Table) -> str:
    """The table with its title and caption."""
    heads = ["Method", *(_head(column) for column in table.columns)]
    lines = [
        f"### {table.title}",
        "",
        _line(heads),
        _line([":--", *("--:" for _ in table.columns)]),
    ]
    for row in table.rows:
        cells = zip(row.cells, table.columns, strict=True)
        lines.append(_line([escape(row.method), *(_cell(*pair) for pair in cells)]))
    caption = " ".join(escape(sentence) for sentence in table.caption)
    return "\n".join([*lines, "", caption, ""])


def escape(value: str) -> str:
    """`value` with what would break a Markdown table cell made harmless."""
    return " ".join(value.split()).replace("|", "\\|").replace("<", "&lt;")


def _head(column: Column) -> str:
    group = f"{escape(column.group)}<br>" if column.group else ""
    return group + "<br>".join(escape(part) for part in text.head_parts(column))


def _cell(cell: Cell, column: Column) -> str:
    shown = text.main_text(cell, column)
    parts = [f"**{shown}**" if cell.best else shown]
    parts += [
        f"<sub>{escape(part)}</sub>"
        for part in (", ".join(text.detail_parts(cell)), text.paper_text(cell, column))
        if part
    ]
    return "<br>".join(parts)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
