"""Tables on a terminal: the verdict first, then each table with three lines of caption.

No table loses the column of its names and no word is broken, however narrow the terminal is: a
table takes two lines a row where that fits, four where it does not, and is shown in parts where
even those are too wide.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from bench.reports import formats
from bench.reports.notes import key_sentences
from bench.tables.model import Cell, Column, Table
from fofa.plain_text import one_line

Line = tuple[str, str]
"""Text and its style."""

NOTE_WIDTH = 13
LONG_NOTE = 40
GAP = 2
LEAST_VALUE_WIDTH = 14
"""Columns that are left for numbers, whatever the names are."""
NAME_WIDTHS = (28, 16, 10)
"""To try in turn: a name that is wider is written in several lines."""


def show(tables: Sequence[Table], console: Console, *, verbose: bool = False) -> None:
    """Print the verdicts, the tables, and what their signs mean.

    Args:
        verbose: the whole captions in place of the short ones.
    """
    _show_verdict(tables, console)
    for table in tables:
        show_table(table, console, verbose=verbose)
    for sentence in key_sentences(tables, paper_sign="(71.9)"):
        _say(sentence, console)


def _show_verdict(tables: Sequence[Table], console: Console) -> None:
    sentences = [sentence for table in tables for sentence in table.verdict]
    if sentences:
        console.print(Text("Verdict", "bold"))
        for sentence in sentences:
            _say(sentence, console, "", "• ")
        console.print()


def _say(sentence: str, console: Console, style: str = "dim", before: str = "  ") -> None:
    """Print a sentence after `before`, broken at words, its lines under each other."""
    text = Text(one_line(sentence), style)
    for place, line in enumerate(text.wrap(console, console.width - len(before))):
        line.rstrip()
        console.print(Text.assemble(" " * len(before) if place else before, line))


def show_table(table: Table, console: Console, *, verbose: bool = False) -> None:
    """Print a table with its caption under it."""
    _say(table.title, console, "bold", "")
    shown_common = False
    for group, places in _groups(table):
        if group is not None:
            _say(group, console, "cyan")
        chosen = places if shown_common else [*_common(table), *places]
        shown_common = True
        for part in _parts(table, chosen, console.width):
            for line in part.lines():
                console.print(line, no_wrap=True, overflow="ignore", crop=False)
    for sentence in [*_footnotes(table), *(table.caption if verbose else table.brief)]:
        _say(sentence, console)
    console.print()


def _common(table: Table) -> list[int]:
    grouped = any(column.group is not None for column in table.columns)
    return [i for i, column in enumerate(table.columns) if grouped and column.group is None]


def _groups(table: Table) -> list[tuple[str | None, list[int]]]:
    """The columns of each device; all, where there are no devices."""
    places = [place for place in range(len(table.columns)) if place not in set(_common(table))]
    found = groupby(places, lambda place: table.columns[place].group)
    return [(group, list(members)) for group, members in found]


@dataclass(frozen=True, slots=True)
class Part:
    """Columns that stand side by side: lines of heads and of cells, each with its width.

    `rows` holds for each row the lines of its name and of its cells.
    """

    name_width: int
    widths: tuple[int, ...]
    title: tuple[Line, ...]
    heads: tuple[tuple[Line, ...], ...]
    rows: tuple[tuple[tuple[Line, ...], tuple[tuple[Line, ...], ...]], ...]

    @property
    def width(self) -> int:
        """Of the whole."""
        return self.name_width + sum(GAP + width for width in self.widths)

    def lines(self) -> Iterator[Text]:
        """Every line, heads at the foot of their columns, cells at the head of their rows."""
        tallest = max(len(lines) for lines in (self.title, *self.heads))
        heads = [((("", ""),) * (tallest - len(lines))) + lines for lines in self.heads]
        title = ((("", ""),) * (tallest - len(self.title))) + self.title
        yield from self._block(title, heads)
        yield Text("─" * self.width, "dim")
        for name, cells in self.rows:
            yield from self._block(name, cells)

    def _block(self, name: Sequence[Line], cells: Sequence[Sequence[Line]]) -> Iterator[Text]:
        for place in range(max(len(lines) for lines in (name, *cells))):
            shown = Text()
            text, style = name[place] if place < len(name) else ("", "")
            shown.append(text + " " * (self.name_width - cell_len(text)), style)
            for lines, width in zip(cells, self.widths, strict=True):
                text, style = lines[place] if place < len(lines) else ("", "")
                shown.append(" " * (GAP + width - cell_len(text)))
                shown.append(text, style)
            shown.rstrip()
            yield shown


def _parts(table: Table, places: Sequence[int], width: int) -> list[Part]:
    """The columns in as few parts as fit into `width`, in the fewest lines that do."""
    for flat in (True, False):
        for name_width in NAME_WIDTHS:
            part = _part(table, places, width, name_width, flat=flat)
            if part.width <= width:
                return [part]
    parts: list[Part] = []
    name_width = NAME_WIDTHS[1] if width >= 60 else NAME_WIDTHS[2]
    start = 0
    while start < len(places):
        for end in range(len(places), start, -1):
            part = _part(table, places[start:end], width, name_width, flat=False)
            if part.width <= width or end == start + 1:
                parts.append(part)
                start = end
                break
    return parts


def _part(table: Table, places: Sequence[int], width: int, name_width: int, *, flat: bool) -> Part:
    longest = width - GAP - LEAST_VALUE_WIDTH
    title = _wrapped(table.row_title, name_width, longest)
    names = [_wrapped(row.method, name_width, longest) for row in table.rows]
    taken = max(cell_len(text) for text in [*title, *(text for name in names for text in name)])
    room = width - taken - GAP
    columns = [table.columns[place] for place in places]
    heads = [_head(column, room) for column in columns]
    rows = [
        [_cell(row.cells[place], table.columns[place], room, flat=flat) for place in places]
        for row in table.rows
    ]
    widths = [
        max(cell_len(text) for lines in (head, *(cells[at] for cells in rows)) for text, _ in lines)
        for at, head in enumerate(heads)
    ]
    styled = [tuple((text, "") for text in name) for name in names]
    return Part(
        name_width=taken,
        widths=tuple(widths),
        title=tuple((text, "bold") for text in title),
        heads=tuple(heads),
        rows=tuple(zip(styled, map(tuple, rows), strict=True)),
    )


def _head(column: Column, room: int) -> tuple[Line, ...]:
    lines = [(text, "bold") for text in _wrapped(column.title, NOTE_WIDTH, room)]
    if column.paper_title:
        lines += [(text, "dim") for text in _wrapped(f"({column.paper_title})", NOTE_WIDTH, room)]
    return tuple(lines)


def _cell(cell: Cell, column: Column, room: int, *, flat: bool) -> tuple[Line, ...]:
    """The number, the architecture with its latency, and the paper's number.

    Args:
        flat: in two lines in place of four.
    """
    style = "bold green" if cell.best else "green" if cell.alike else ""
    main = one_line(formats.main_text(cell, column)).replace(" ± ", "±")
    theirs = formats.paper_number(cell, column)
    paper = None if theirs is None else f"({theirs})"
    details = formats.detail_parts(cell)
    if cell.choices:
        lines = (
            [" ".join(details)]
            if flat
            else [line for part in details for line in _architecture_lines(part, room)]
        )
    else:
        notes = [_short(note) for note in details]
        lines = [line for note in notes for line in _wrapped(note, NOTE_WIDTH, room)]
    below = [*lines, *([paper] if paper and not flat else [])]
    first = f"{main} {paper}" if paper and flat else main
    return ((first, style), *((line, "dim") for line in below))


def _architecture_lines(name: str, room: int) -> list[str]:
    """An architecture's name, broken between its blocks where it is longer than a column."""
    if len(name) <= NOTE_WIDTH or not re.search(r"[-+]", name):
        return _wrapped(name, NOTE_WIDTH, room)
    lines = [""]
    for piece in re.split(r"(?<=[-+])", name):
        if lines[-1] and len(lines[-1] + piece) > min(room, NOTE_WIDTH):
            lines.append("")
        lines[-1] += piece
    return lines


def _wrapped(text: str, width: int, longest: int) -> list[str]:
    """`text` in lines of `width`, of its words where those are wider, but never over `longest`."""
    lines: list[str] = []
    for line in _words(text, width):
        while cell_len(line) > longest:
            cut = next(
                n for n in range(len(line), 0, -1) if cell_len(line[:n]) <= longest or n == 1
            )
            lines.append(line[:cut])
            line = line[cut:]
        lines.append(line)
    return lines


def _words(text: str, width: int) -> list[str]:
    line = one_line(text)
    return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]


def _short(note: str) -> str:
    """A long note's beginning: the rest stands under the table."""
    if len(note) <= LONG_NOTE:
        return note
    begin = note.partition(":")[0]
    return begin if len(begin) <= LONG_NOTE else "see below"


def _footnotes(table: Table) -> list[str]:
    notes = [cell.note for row in table.rows for cell in row.cells if cell.note]
    return [note for note in dict.fromkeys(notes) if len(note) > LONG_NOTE]
