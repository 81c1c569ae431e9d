r"""Tables as LaTeX with booktabs: `\usepackage{booktabs}` is all that a paper needs.

Each method takes three lines: accuracy, the architecture with its latency, the paper's number.
"""

from __future__ import annotations

from itertools import groupby

from bench.reports.formats import text
from bench.tables.model import Cell, Column, Row, Table

SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "→": r"$\to$",
    "–": "--",
    "×": r"$\times$",
}


def latex(table: Table) -> str:
    """A `table` environment with caption and label."""
    columns = table.columns
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(f'{table.title}. ' + ' '.join(table.caption))}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        *_groups(columns),
        _line(["Method", *(_head(column) for column in columns)]),
        r"\midrule",
    ]
    for row in table.rows:
        lines += _row_lines(row, columns)
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
    return "\n".join(lines)


def escape(value: str) -> str:
    """`value` with LaTeX's special characters made printable."""
    return "".join(SPECIAL.get(character, character) for character in value)


def _groups(columns: list[Column]) -> list[str]:
    if not any(column.group for column in columns):
        return []
    cells, rules, position = [""], [], 2
    for group, members in groupby(columns, lambda column: column.group):
        width = len(list(members))
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(group or '')}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{position}-{position + width - 1}}}")
        position += width
    return [_line(cells), "".join(rules)]


def _head(column: Column) -> str:
    title, *rest = text.head_parts(column)
    return escape(f"{title} ({rest[0]})" if rest else title)


def _row_lines(row: Row, columns: list[Column]) -> list[str]:
    pairs = list(zip(row.cells, columns, strict=True))
    lines = [_line([escape(row.method), *(_main(cell, column) for cell, column in pairs)])]
    for parts in (
        [", ".join(text.detail_parts(cell)) for cell, _ in pairs],
        [text.paper_text(cell, column) for cell, column in pairs],
    ):
        if any(parts):
            small = [rf"{{\scriptsize {escape(part)}}}" if part else "" for part in parts]
            lines.append(_line(["", *small]))
    return lines


def _main(cell: Cell, column: Column) -> str:
    shown = escape(text.main_text(cell, column))
    return rf"\textbf{{{shown}}}" if cell.best else shown


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
