"""The report as one HTML page with its style, script and figures inside."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import jinja2
from markupsafe import Markup

import fofa
from bench.reports.formats import text
from bench.reports.provenance import Source
from bench.tables.build import Report
from bench.tables.model import Cell, Column, Table

TEMPLATE = "report.html.j2"


def html_page(report: Report, sources: Sequence[Source]) -> str:
    """The page's text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bench"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["inline"] = lambda figure: Markup(figure.inline())
    environment.globals.update(_helpers())
    return (
        environment.get_template(TEMPLATE).render(
            sections=report.sections,
            notes=list(dict.fromkeys(report.notes)),
            sources=sources,
            settings=[setting.name for setting in report.collection.settings],
            labels={source.anchor: f"{source.kind}: {source.name}" for source in sources},
            version=fofa.__version__,
        )
        + "\n"
    )


def _helpers() -> dict[str, Any]:
    """What the template calls, so that it holds no logic of its own."""
    return {
        "main_text": text.main_text,
        "detail_parts": text.detail_parts,
        "paper_text": text.paper_text,
        "groups": _groups,
        "sort_value": _sort_value,
        "pairs": _pairs,
    }


def _groups(table: Table) -> list[tuple[str, int]]:
    """Device headings with the number of columns that they span."""
    runs = groupby(table.columns, lambda column: column.group)
    return [(group or "", len(list(columns))) for group, columns in runs]


def _sort_value(cell: Cell) -> str:
    return "" if cell.value is None else repr(cell.value)


def _pairs(cells: Sequence[Cell], columns: Sequence[Column]) -> list[tuple[Cell, Column]]:
    return list(zip(cells, columns, strict=True))
