"""What a table of the bench is: columns, rows and cells, and where every number came from.

One model for the paper's Table 2 and for the latency tables, so that each output format is written
once. It is also the JSON that the bench writes (schema `fofa.table/1`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from bench.tables.significance import Difference
from fofa.files import FileModel


class ChosenArchitecture(BaseModel):
    """What one supernet gives within a limit: the chosen architecture and its numbers.

    `timed_as` differs from `architecture` only for accuracy that declares itself a stand-in for
    larger images. `accuracy` and `lut` are the anchors of the files in the report.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int
    architecture: str
    timed_as: str
    top1: float
    latency_ms: float
    accuracy: str
    lut: str


class Behind(BaseModel):
    """Points of a cell less those of the best of its column, with the ends of the 95% interval."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    points: float
    low: float
    high: float


class Cell(BaseModel):
    """A number with what it rests on; without a number, `note` says why.

    `spread` is the sample standard deviation over `seeds` (None for one seed); `low` and `high` are
    the ends of an interval. `best`: above every other cell of the column; `alike`: the best of the
    column, or cannot be told from it, where none is above every other. `behind` is there where the
    column compares two cells or more.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float | None = None
    spread: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 0
    choices: list[ChosenArchitecture] = Field(default_factory=list)
    sources: list[str] = Field(default_factory=list)
    paper: float | None = None
    note: str | None = None
    best: bool = False
    alike: bool = False
    behind: Behind | None = None


class Column(BaseModel):
    """A column; `group` is the device where a table has several side by side.

    `paper_title` is the paper's own limit or unit where it differs from ours.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    group: str | None = None
    decimals: int = 2
    unit: str = ""
    limit_ms: float | None = None
    lut: str | None = None
    paper_title: str | None = None


class MethodRow(BaseModel):
    """A method; one cell per column."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    recipe: str
    cells: list[Cell]


class Table(FileModel):
    """A table as every output format takes it (schema `fofa.table/1`).

    `row_title` heads the column of the rows' names. `verdict` says what won where, by how much and
    within which error; `brief` is the caption in three short sentences.
    """

    SCHEMA: ClassVar[str] = "fofa.table"
    VERSION: ClassVar[int] = 1

    name: str
    title: str
    verdict: list[str] = Field(default_factory=list)
    brief: list[str] = Field(default_factory=list)
    caption: list[str]
    row_title: str = "Method"
    columns: list[Column]
    rows: list[MethodRow]


def mark_apart(
    rows: list[list[Cell]], column: int, differences: Sequence[Difference | None]
) -> None:
    """Mark the best cell of a column, or all that cannot be told from it; note the differences.

    Args:
        differences: of each row to the column's best, as `against_best` gives them.
    """
    known = {number: found for number, found in enumerate(differences) if found is not None}
    if len(known) < 2:
        return
    alike = [number for number, difference in known.items() if not difference.told_apart]
    mark = "best" if len(alike) == 1 else "alike"
    for number, difference in known.items():
        behind = Behind(points=difference.value, low=difference.low, high=difference.high)
        marked = {mark: True} if number in alike else {}
        cell = rows[number][column]
        rows[number][column] = cell.model_copy(update={"behind": behind, **marked})


def mark_best(
    rows: list[list[Cell]], column: int, decimals: int, *, smallest: bool = False
) -> None:
    """Mark the best cells of a column of exact numbers; all that print alike are."""
    values = [
        None if (value := cells[column].value) is None else round(value, decimals) for cells in rows
    ]
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return
    best = min(known) if smallest else max(known)
    for cells, value in zip(rows, values, strict=True):
        if value == best:
            cells[column] = cells[column].model_copy(update={"best": True})
