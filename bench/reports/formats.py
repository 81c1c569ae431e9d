"""Tables as text: Markdown, CSV and LaTeX. JSON is the model's own, the screen is `screen`.

How a cell's parts read stands once, at the top; each format adds its own markup.
"""

from __future__ import annotations

import csv as csv_module
import io
import re
from collections.abc import Sequence
from itertools import groupby

from bench.tables.captions import ALIKE
from bench.tables.model import Cell, ChosenArchitecture, Column, MethodRow, Table
from fofa.plain_text import one_line


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
    """`72.02`, `72.02 ± 0.13`, `-0.40 [-0.71, -0.09]`, or a dash where there is no number."""
    if cell.value is None:
        return "–"
    shown = number(cell.value, column)
    if cell.spread is not None:
        shown += f" ± {cell.spread:.{column.decimals}f}"
    if cell.low is not None and cell.high is not None:
        shown += f" [{cell.low:.{column.decimals}f}, {cell.high:.{column.decimals}f}]"
    return f"{shown} {ALIKE}" if cell.alike else shown


def architecture_text(choice: ChosenArchitecture) -> str:
    """`23432@160`; `23432@40→160` where latency was taken at larger images than accuracy."""
    if choice.timed_as == choice.architecture:
        return choice.architecture
    return f"{choice.architecture}→{choice.timed_as.rpartition('@')[2]}"


def latency_text(choice: ChosenArchitecture) -> str:
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


MARKDOWN_SPECIAL = re.compile(r"[\\`*_$~|\[\]]")


def markdown(table: Table, caption: Sequence[str] | None = None) -> str:
    """The table with its title, its verdict and its caption.

    Args:
        caption: Markdown in place of the table's own sentences.
    """
    if caption is None:
        caption = [escape_markdown(sentence) for sentence in table.caption]
    heads = [escape_markdown(table.row_title), *map(_markdown_head, table.columns)]
    lines = [
        f"### {escape_markdown(table.title)}",
        "",
        *(f"- {escape_markdown(sentence)}" for sentence in table.verdict),
        *([""] if table.verdict else []),
        _markdown_line(heads),
        _markdown_line([":--", *("--:" for _ in table.columns)]),
    ]
    for row in table.rows:
        cells = zip(row.cells, table.columns, strict=True)
        lines.append(
            _markdown_line(
                [escape_markdown(row.method), *(_markdown_cell(*pair) for pair in cells)]
            )
        )
    return "\n".join([*lines, "", " ".join(caption), ""])


def escape_markdown(value: str) -> str:
    """`value` as one line of plain text in a Markdown paragraph, heading, link or table cell."""
    line = one_line(" ".join(value.split()))
    return MARKDOWN_SPECIAL.sub(r"\\\g<0>", line.replace("&", "&amp;").replace("<", "&lt;"))


def _markdown_head(column: Column) -> str:
    group = f"{escape_markdown(column.group)}<br>" if column.group else ""
    return group + "<br>".join(escape_markdown(part) for part in head_parts(column))


def _markdown_cell(cell: Cell, column: Column) -> str:
    shown = main_text(cell, column)
    parts = [f"**{shown}**" if cell.best else shown]
    parts += [
        f"<sub>{escape_markdown(part)}</sub>"
        for part in (", ".join(detail_parts(cell)), paper_text(cell, column))
        if part
    ]
    return "<br>".join(parts)


def _markdown_line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


CSV_FIELDS = (
    "table",
    "group",
    "column",
    "limit_ms",
    "recipe",
    "method",
    "value",
    "unit",
    "spread",
    "low",
    "high",
    "seeds",
    "best",
    "alike",
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
    writer = csv_module.DictWriter(buffer, CSV_FIELDS, lineterminator="\n")
    writer.writeheader()
    for row in table.rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            writer.writerow(_csv_record(table, row, column, cell))
    return buffer.getvalue()


def _csv_record(table: Table, row: MethodRow, column: Column, cell: Cell) -> dict[str, object]:
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
        "low": cell.low,
        "high": cell.high,
        "seeds": cell.seeds,
        "best": cell.best,
        "alike": cell.alike,
        "architecture": chosen.architecture if chosen else None,
        "timed_as": chosen.timed_as if chosen else None,
        "latency_ms": chosen.latency_ms if chosen else None,
        "paper_value": cell.paper,
        "paper_column": (column.paper_title or column.title) if cell.paper is not None else None,
        "note": cell.note,
        # On every line, because lines of such files are taken out and put together.
        "caption": " ".join(table.caption),
    }


LATEX_SPECIAL = {
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
    ALIKE: r"$\approx$",
}


def latex(table: Table) -> str:
    """A `table` environment with caption and label."""
    columns = table.columns
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(f'{table.title}. ' + ' '.join(table.caption))}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        *_latex_groups(columns),
        _latex_line([escape_latex(table.row_title), *(_latex_head(column) for column in columns)]),
        r"\midrule",
    ]
    for row in table.rows:
        lines += _latex_rows(row, columns)
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
    return "\n".join(lines)


def escape_latex(value: str) -> str:
    """`value` with LaTeX's special characters made printable."""
    return "".join(LATEX_SPECIAL.get(character, character) for character in one_line(value))


def _latex_groups(columns: list[Column]) -> list[str]:
    if not any(column.group for column in columns):
        return []
    cells, rules, position = [""], [], 2
    for group, members in groupby(columns, lambda column: column.group):
        width = len(list(members))
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(group or '')}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{position}-{position + width - 1}}}")
        position += width
    return [_latex_line(cells), "".join(rules)]


def _latex_head(column: Column) -> str:
    title, *rest = head_parts(column)
    return escape_latex(f"{title} ({rest[0]})" if rest else title)


def _latex_rows(row: MethodRow, columns: list[Column]) -> list[str]:
    pairs = list(zip(row.cells, columns, strict=True))
    lines = [
        _latex_line(
            [escape_latex(row.method), *(_latex_main(cell, column) for cell, column in pairs)]
        )
    ]
    for parts in (
        [", ".join(detail_parts(cell)) for cell, _ in pairs],
        [paper_text(cell, column) for cell, column in pairs],
    ):
        if any(parts):
            small = [rf"{{\scriptsize {escape_latex(part)}}}" if part else "" for part in parts]
            lines.append(_latex_line(["", *small]))
    return lines


def _latex_main(cell: Cell, column: Column) -> str:
    shown = escape_latex(main_text(cell, column))
    return rf"\textbf{{{shown}}}" if cell.best else shown


def _latex_line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
