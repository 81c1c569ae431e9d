"""Tables on the terminal, by rich: devices one under another, so that 80 columns are enough.

The paper's numbers stand in brackets there.
"""

from __future__ import annotations

import textwrap
from itertools import groupby

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from bench.reports.formats import text
from bench.tables.model import Cell, Column, Table

NOTE_WIDTH = 13


def show(table: Table, console: Console) -> None:
    """Print the table with its caption under it."""
    console.print(Text(table.title, "bold"))
    common = [index for index, column in enumerate(table.columns) if column.group is None]
    groups = [group for group, _ in groupby(table.columns, lambda c: c.group) if group is not None]
    for group in groups or [None]:
        chosen = [i for i, column in enumerate(table.columns) if column.group == group]
        indices = common + chosen if group is not None else common
        if group is not None:
            console.print(Text(f"  {group}", "cyan"))
        console.print(_grid(table, indices))
    has_paper = any(cell.paper is not None for row in table.rows for cell in row.cells)
    brackets = ["In brackets: the paper's."] if has_paper else []
    caption = Text(" ".join([*brackets, *table.caption]), "dim")
    console.print(Padding(caption, (0, 2, 1, 2)))


def _grid(table: Table, indices: list[int]) -> RichTable:
    grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    grid.add_column("Method", min_width=8)
    for index in indices:
        column = table.columns[index]
        head = Text("\n".join(textwrap.wrap(column.title, NOTE_WIDTH)))
        if column.paper_title:
            head.append(f"\n({column.paper_title})", "dim")
        grid.add_column(head, justify="right", vertical="top", no_wrap=True)
    for row in table.rows:
        cells = [_cell(row.cells[index], table.columns[index]) for index in indices]
        grid.add_row(row.method, *cells)
    return grid


def _cell(cell: Cell, column: Column) -> Text:
    shown = Text(text.main_text(cell, column), "bold green" if cell.best else "")
    for part in text.detail_parts(cell):
        shown.append("\n" + "\n".join(textwrap.wrap(part, NOTE_WIDTH)), "dim")
    if (theirs := text.paper_number(cell, column)) is not None:
        shown.append(f"\n({theirs})", "dim")
    return shown
