"""Every output format holds the table's numbers, read back by that format's own tools."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pandas as pd
import pytest

from bench.reports import formats
from bench.reports.build import build
from bench.reports.formats import csv, latex, markdown
from bench.tables.collect import collect
from bench.tables.devices import WantedLimits
from bench.tables.model import Cell, ChosenArchitecture, Column, MethodRow, Table, mark_best


@pytest.fixture(scope="module")
def tables(shared_project: Path) -> dict[str, Table]:
    collection = collect(
        accuracy_dir=shared_project / "reports/accuracy", luts_dir=shared_project / "luts"
    )
    report = build(collection, tables=["2", "3", "4", "5"], figures=[], limits=WantedLimits())
    return {table.name: table for table in report.tables}


NAMES = ["table2", "table3", "table4", "table5"]


@pytest.mark.parametrize("name", NAMES)
def test_csv_is_read_back_by_pandas(tables: dict[str, Table], name: str) -> None:
    table = tables[name]
    frame = pd.read_csv(io.StringIO(csv(table)))
    assert list(frame.columns) == list(formats.CSV_FIELDS)
    assert len(frame) == len(table.rows) * len(table.columns)
    cells = [cell for row in table.rows for cell in row.cells]
    assert frame["value"].tolist() == pytest.approx([cell.value for cell in cells])
    assert frame["best"].sum() == sum(cell.best for cell in cells)
    if name != "table2":
        limited = frame[frame["limit_ms"].notna()]
        assert (limited["latency_ms"] <= limited["limit_ms"]).all()
        pivot = limited.pivot_table(index="method", columns=["group", "limit_ms"], values="value")
        assert pivot.shape == (6, len(table.columns) - 1)


@pytest.mark.parametrize("name", NAMES)
def test_json_is_read_back_as_the_same_table(
    tables: dict[str, Table], name: str, tmp_path: Path
) -> None:
    tables[name].write(tmp_path / "table.json")
    assert Table.read(tmp_path / "table.json") == tables[name]


@pytest.mark.parametrize("name", NAMES)
def test_latex_is_balanced_and_every_line_is_full(tables: dict[str, Table], name: str) -> None:
    table = tables[name]
    source = latex(table)
    assert re.findall(r"\\begin\{(\w+)\}", source) == ["table", "tabular"]
    assert re.findall(r"\\end\{(\w+)\}", source) == ["tabular", "table"]
    unescaped = source.replace(r"\{", "").replace(r"\}", "")
    assert unescaped.count("{") == unescaped.count("}")
    for rule in ("toprule", "midrule", "bottomrule"):
        assert source.count(rf"\{rule}") == 1
    body = source.split(r"\toprule")[1].split(r"\bottomrule")[0]
    for line in body.splitlines():
        if line.endswith(r"\\"):
            spans = [int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line)]
            separators = len(re.findall(r"(?<!\\)&", line))
            assert separators + sum(spans) == len(table.columns)
    assert source.isascii()


@pytest.mark.parametrize("name", NAMES)
def test_markdown_has_a_full_line_for_every_method(tables: dict[str, Table], name: str) -> None:
    table = tables[name]
    lines = [line for line in markdown(table).splitlines() if line.startswith("|")]
    assert len(lines) == len(table.rows) + 2
    assert {line.count("|") for line in lines} == {len(table.columns) + 2}
    for row, line in zip(table.rows, lines[2:], strict=True):
        assert line.startswith(f"| {row.method} |")
        assert line.count("**") == 2 * sum(cell.best for cell in row.cells)
    assert all(formats.escape_markdown(sentence) in markdown(table) for sentence in table.caption)


def test_devices_stand_side_by_side(tables: dict[str, Table]) -> None:
    source = latex(tables["table4"])
    assert r"\multicolumn{4}{c}{NVIDIA A100 (estimated)}" in source
    assert r"\cmidrule(lr){3-6}\cmidrule(lr){7-10}" in source


def test_hostile_text_stays_text() -> None:
    nasty = r"a|b <script> 50% $x_1$ \bad {c} ~^ #&"
    assert "<" not in formats.escape_markdown(nasty)
    assert "| " not in formats.escape_markdown(nasty).replace("\\|", "")
    escaped = formats.escape_latex(nasty)
    assert not re.search(r"(?<!\\)[%$#&_]", escaped)


def choice(timed_as: str) -> ChosenArchitecture:
    return ChosenArchitecture(
        seed=0,
        architecture="22222@40",
        timed_as=timed_as,
        top1=70,
        latency_ms=12.3456,
        accuracy="a",
        lut="l",
    )


def test_parts_of_a_cell() -> None:
    column = Column(title="15 ms", limit_ms=15, unit="%")
    cell = Cell(value=70.126, spread=0.1, choices=[choice("22222@160")], paper=71.9)
    assert formats.main_text(cell, column) == "70.13 ± 0.10"
    assert formats.detail_parts(cell) == ["22222@40→160", "12.35 ms"]
    assert formats.architecture_text(choice("22222@40")) == "22222@40"
    assert formats.paper_text(cell, column) == "paper 71.90"
    empty = Cell(note="none fits")
    assert (formats.main_text(empty, column), formats.paper_text(empty, column)) == ("–", None)
    assert formats.number(185.0, Column(title="Epochs", decimals=1)) == "185"
    assert formats.number(2.0, Column(title="Ratio", unit="x")) == "2.00x"


def test_equal_as_printed_is_equally_best() -> None:
    rows = [[Cell(value=70.001)], [Cell(value=70.002)], [Cell(value=69)], [Cell()]]
    mark_best(rows, 0, 2)
    assert [cells[0].best for cells in rows] == [True, True, False, False]
    alone = [[Cell(value=1.0)], [Cell()]]
    mark_best(alone, 0, 2)
    assert not alone[0][0].best


def test_a_table_without_groups_has_no_group_line() -> None:
    table = Table(
        name="t",
        title="T",
        caption=[],
        columns=[Column(title="Epochs")],
        rows=[MethodRow(method="m", recipe="m", cells=[Cell(value=1)])],
    )
    assert "multicolumn" not in latex(table)
