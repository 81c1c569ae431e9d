"""Names in files are text wherever they are shown: no markup, no formula, no control."""

from __future__ import annotations

import io
import json
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from bench.gate.baseline import Tolerance, make_baseline
from bench.gate.compare import compare
from bench.gate.summary import complaints, github_annotations, junit_xml, markdown_summary
from bench.reports import screen
from bench.reports.build import Report, WantedMatrix, build
from bench.reports.pages import html_page, markdown_page, write_report
from bench.reports.provenance import provenance
from bench.tables.collect import AccuracySource, Collection, LutSource
from bench.tables.devices import WantedLimits
from fofa.accuracy import AccuracyTable
from fofa.latency import Lut
from fofa.plain_text import one_line

NAMES = {
    "closing tag": "[/nope]",
    "opening tag": "[/b]dev",
    "formula": r"$\frac$",
    "control": "a\x00b\x1b[31m\x0bc\x7f\x85",
    "newline": "x\n# heading\n::stop-commands::t",
    "CJK": "深度学习网络",
    "underscore": "_hidden",
    "very long": "W" * 400,
    "link": "](https://example.org) ![x](y) <img src=x> `code` *a* _b_ & &lt;",
    "surrogates": "\ufffe\u2028\u2029",
    "end of script": "</script><script>alert(1)</script><!--",
}


SECTIONS = {"## Summary", "## How to read the tables", "## Notes", "## Missing"}


@pytest.fixture(scope="module", params=NAMES.values(), ids=NAMES.keys())
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def collection(
    name: str, make_lut: Callable[..., Lut], trained_within: Callable[..., AccuracyTable]
) -> Collection:
    """A device, hardware, recipe and data set that are all called so."""
    lut = make_lut(name, hardware=name, resolutions=(128,))
    tables = [
        trained_within(recipe, hours, dataset=name, resolutions=(32,), bonus=hours)
        for recipe in (name, "compofa")
        for hours in (1, 2)
    ]
    file_name = re.sub(r"[/\0]", "", name[:40])
    return Collection(
        accuracy=tuple(
            AccuracySource(Path(f"{number}.json"), table) for number, table in enumerate(tables)
        ),
        luts=(LutSource(Path("lut.json"), lut), LutSource(Path(f"{file_name}.json"), lut)),
        accuracy_dir=Path("accuracy"),
        luts_dir=Path("luts"),
    )


@pytest.fixture(scope="module")
def report(collection: Collection, name: str) -> Report:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return build(
            collection,
            tables=["2", "other"],
            figures=["4", "cost"],
            limits=WantedLimits(),
            matrix=WantedMatrix(name),
        )


def test_a_report_is_made_without_a_warning_and_its_drawings_are_well_formed(
    report: Report, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = write_report(report, tmp_path)
    assert page.is_file()
    for figure in report.figures:
        ElementTree.fromstring(figure.svg)
        ElementTree.fromstring(figure.inline())
    for front in report.fronts:
        ElementTree.fromstring(front.svg)


def test_the_screen_shows_brackets_as_they_are(report: Report, name: str) -> None:
    stream = io.StringIO()
    screen.show(report.tables, Console(file=stream, width=2000, highlight=False), verbose=True)
    if name.startswith("["):
        assert name in stream.getvalue()


def test_headings_and_alternative_texts_are_one_line_of_text(report: Report) -> None:
    lines = markdown_page(report).splitlines()
    number = len(report.tables) + len(report.figures)
    assert sum(line.startswith("### ") for line in lines) == number
    further = [line for line in lines if line.startswith("#") and not line.startswith("### ")]
    assert set(further) <= {"# Report", *SECTIONS}
    figures = [line for line in lines if line.startswith("![")]
    assert len(figures) == len(report.figures)
    for line in figures:
        text = re.sub(r"\\.", "", line)
        assert re.fullmatch(r"!\[[^][<]*\]\(figures/[a-z0-9-]+\.svg\)", text), line


def test_the_page_holds_no_control_characters(report: Report, tmp_path: Path) -> None:
    page = html_page(report, provenance(report.collection, tmp_path))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", page)
    assert "<img src=x>" not in page
    assert "<script>alert" not in page


def test_the_data_of_the_fronts_is_text(report: Report, tmp_path: Path, name: str) -> None:
    page = html_page(report, provenance(report.collection, tmp_path))
    found = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert len(found) == len(report.fronts)
    for text, front in zip(found, report.fronts, strict=True):
        assert json.loads(text) == json.loads(json.dumps(front.data))
        assert one_line(name) in [line["label"] for line in json.loads(text)["lines"]]


def test_the_gates_outputs_are_well_formed_and_one_line_a_reason(collection: Collection) -> None:
    made, _ = make_baseline(collection, WantedLimits(), Tolerance())
    gone = Collection((), collection.luts, collection.accuracy_dir, collection.luts_dir)
    for comparisons in (compare(made, collection), compare(made, gone)):
        root = ElementTree.fromstring(junit_xml(comparisons))
        assert len(list(root.iter("testcase"))) == len(comparisons)
        for line in [*complaints(comparisons), *github_annotations(comparisons)]:
            assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)
        rows = [row for row in markdown_summary(comparisons).splitlines() if row.startswith("| ")]
        assert len(rows) == 2 + len(comparisons)
