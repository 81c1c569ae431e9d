"""What was found, for a terminal: a table where it fits, else each row's values under its name.

A table that is too wide would lose columns or break words. Below each other, everything is there at
any width, and long names (those of the elastic space have more than a hundred characters) can be
copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

UNLIMITED = 100_000
"""Columns that no table needs."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column by its head; numbers stand at its right."""

    title: str
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows to show; the first of `columns` holds their names, and cells may have several lines."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, or the rows one after the other."""
        yield Text(self.title, "bold")
        table = self._table()
        width = Measurement.get(console, options.update_width(UNLIMITED), table).maximum
        if width <= options.max_width:
            yield table
        else:
            yield from self._one_by_one()
        yield Text()

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for column in self.columns:
            justify: JustifyMethod = "right" if column.is_number else "left"
            table.add_column(column.title, justify=justify, no_wrap=True)
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table

    def _one_by_one(self) -> Iterator[Text | Padding]:
        for name, *cells in self.rows:
            yield Text(name, "bold", overflow="fold")
            grid = Table.grid(padding=(0, 2, 0, 0))
            grid.add_column(style="dim", no_wrap=True)
            grid.add_column(overflow="fold")
            for column, cell in zip(self.columns[1:], cells, strict=True):
                grid.add_row(column.title, Text(cell, overflow="fold"))
            yield Padding(grid, (0, 0, 0, 2), expand=False)
