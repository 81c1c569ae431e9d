"""Tables on a terminal: whole at any width, the verdict first, three lines of caption."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from bench.reports import formats
from bench.reports.build import build
from bench.reports.screen import show
from bench.tables import captions
from bench.tables.collect import collect
from bench.tables.devices import WantedLimits
from bench.tables.model import Behind, Cell, ChosenArchitecture, Column, MethodRow, Table

SNAPSHOTS = Path(__file__).parent / "snapshots"
ELASTIC = "3x4+5x6-7x3+3x3-5x4+5x4+5x4-3x6+3x6-7x6+7x6@160"


@pytest.fixture(scope="module")
def tables(shared_project: Path) -> list[Table]:
    collection = collect(
        accuracy_dir=shared_project / "reports/accuracy", luts_dir=shared_project / "luts"
    )
    report = build(collection, tables=["2", "3", "4", "5"], figures=[], limits=WantedLimits())
    return report.tables


def screen(tables: list[Table], width: int, *, verbose: bool = False) -> str:
    stream = io.StringIO()
    show(tables, Console(file=stream, width=width, highlight=False), verbose=verbose)
    return stream.getvalue()


def cell(value: float, architecture: str, latency_ms: float, **fields: object) -> Cell:
    chosen = ChosenArchitecture(
        seed=0,
        architecture=architecture,
        timed_as=architecture.replace("@40", "@160"),
        top1=value,
        latency_ms=latency_ms,
        accuracy="a",
        lut="l",
    )
    return Cell(value=value, choices=[chosen], **fields)  # type: ignore[arg-type]


def written_by_hand() -> Table:
    """Two devices, a name of several words, an elastic architecture, notes; no draws."""
    behind = Behind(points=-1.5, low=-2.0, high=-1.0)
    itself = Behind(points=0, low=0, high=0)
    reason = "not paired: the latency table is of width 1.5, the accuracy of width 1"
    rows = [
        [
            Cell(value=605.0, paper=605.0),
            cell(70.25, "23432@40", 14.125, spread=0.5, paper=71.93, behind=behind),
            cell(72.5, ELASTIC, 19.5, paper=73.95, alike=True, behind=itself),
            Cell(note="none fits; the fastest takes 12.5 ms"),
        ],
        [
            Cell(value=185.0),
            cell(71.75, "22222@40", 13.5, best=True, behind=itself),
            cell(72.25, "33333@40", 20.0, alike=True, behind=behind),
            Cell(note=reason),
        ],
    ]
    methods = ["OFA", "Sandwich rule (n=4, 300)"]
    return Table(
        name="table9",
        title="Table 9: top-1 accuracy within latency limits, two devices",
        verdict=[
            "Toaster: Sandwich rule (n=4, 300) is first at 15 ms, by 1.50 [1.00, 2.00] points."
        ],
        brief=["Limits: as given.", "Top-1: made up, 10 test images, 40 px.", "Latency: made up."],
        caption=["A long story that only those who ask for it are told, from its beginning on."],
        columns=[
            Column(title="Epochs", decimals=1),
            Column(title="15 ms", group="Toaster (published)", unit="%", limit_ms=15),
            Column(title="20 ms", group="Toaster (published)", unit="%", limit_ms=20),
            Column(title="9 ms", group="Kettle 3000 (estimated)", unit="%", paper_title="22 ms"),
        ],
        rows=[
            MethodRow(method=method, recipe=method, cells=cells)
            for method, cells in zip(methods, rows, strict=True)
        ],
    )


@pytest.mark.parametrize("width", [40, 80, 120])
def test_what_is_shown_is_what_was_looked_at(width: int) -> None:
    """After a change that is meant: look at the new text, then put it in the place of the old."""
    assert screen([written_by_hand()], width) == (SNAPSHOTS / f"{width}.txt").read_text()


@pytest.mark.parametrize("width", [*range(40, 60), 79, 80, 81, 100, 120, 121, 140])
def test_no_name_is_lost_and_no_word_broken_at_any_width(tables: list[Table], width: int) -> None:
    shown = screen(tables, width).splitlines()
    assert max(map(len, shown)) <= width
    assert "…" not in "".join(shown)
    rules = [line for line in shown if line and set(line) == {"─"}]
    for word, times in (("OFA", 1), ("CompOFA", 1), ("fOFA", 3), ("Sandwich", 1)):
        begins = [line for line in shown if line.partition(" ")[0] == word]
        assert len(begins) == times * len(rules)
    words = set(" ".join(line for line in shown if line not in rules).split())
    wide = screen(tables, 1000).splitlines()
    assert words == set(" ".join(line for line in wide if set(line) != {"─"}).split())


def test_every_architecture_is_shown_with_its_latency_and_the_papers_number(
    tables: list[Table],
) -> None:
    words = screen(tables, 40).split()
    for table in tables:
        for row in table.rows:
            for column, each in zip(table.columns, row.cells, strict=True):
                if (theirs := formats.paper_number(each, column)) is not None:
                    assert f"({theirs})" in words
                for choice in each.choices[:1]:
                    assert formats.architecture_text(choice) in words
                    assert formats.latency_text(choice).split()[0] in words


def test_the_verdict_is_first_and_captions_take_three_lines(tables: list[Table]) -> None:
    shown = screen(tables, 80)
    lines = shown.splitlines()
    assert lines[0] == "Verdict"
    text = " ".join(shown.split())
    for table in tables:
        assert table.verdict
        assert all(sentence in text for sentence in table.verdict)
        assert text.index(table.verdict[-1]) < text.index(tables[0].title)
        assert len(table.brief) <= 3
        assert all(len(sentence) <= 78 for sentence in table.brief)
    assert captions.SELECTION_NOTE not in text


def test_the_whole_captions_are_shown_when_asked_for(tables: list[Table]) -> None:
    text = " ".join(screen(tables, 80, verbose=True).split())
    assert all(sentence in text for table in tables for sentence in table.caption)


def test_names_longer_than_the_screen_are_broken_and_columns_stay() -> None:
    table = written_by_hand()
    rows = [row.model_copy(update={"method": "W" * 400}) for row in table.rows]
    shown = screen([table.model_copy(update={"rows": rows})], 40)
    assert max(map(len, shown.splitlines())) <= 40
    assert shown.count("W") == 4 * 2 * 400
    assert "70.25±0.50" in shown
