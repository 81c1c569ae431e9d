"""The fronts that answer: they say what the tables say, and the commands they give do, too."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from in_process import run_here
from waiting import PATIENCE_SECONDS

from bench.reports import formats
from bench.reports.build import Report, Section, build
from bench.reports.notes import Caveats
from bench.reports.pages import write_report
from bench.tables.collect import collect
from bench.tables.devices import WantedLimits
from bench.tables.model import Cell
from fofa.commands.search import main as fofa_search

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

PROBE = """
<script>
addEventListener("load", () => {
  const said = [...document.querySelectorAll("figure.front")].map((figure) =>
    [...figure.querySelectorAll(".limits button")].map((button) => {
      button.click();
      const rows = [...figure.querySelectorAll(".readout tbody tr")];
      return rows.map((row) => [...row.cells].map((cell) => cell.textContent.trim()));
    }));
  const pre = document.createElement("pre");
  pre.id = "said";
  pre.textContent = JSON.stringify(said);
  document.body.append(pre);
});
</script>
"""


@pytest.fixture(scope="module")
def report(shared_project: Path) -> Report:
    collection = collect(
        accuracy_dir=shared_project / "reports/accuracy", luts_dir=shared_project / "luts"
    )
    return build(collection, tables=["3", "4"], figures=["4"], limits=WantedLimits())


@pytest.fixture(scope="module")
def page(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(report, tmp_path_factory.mktemp("page"))


def answers(section: Section) -> list[list[tuple[float, dict[str, Cell]]]]:
    """For every device of a table: its limits, and the cell of each recipe there."""
    assert section.table is not None
    columns = section.table.columns
    places = [place for place, column in enumerate(columns) if column.limit_ms is not None]
    return [
        [
            (
                columns[place].limit_ms or 0.0,
                {row.method: row.cells[place] for row in section.table.rows},
            )
            for place in members
        ]
        for _, members in groupby(places, lambda place: columns[place].group)
    ]


def test_a_front_says_at_a_limit_what_the_table_says(report: Report) -> None:
    sections = [section for section in report.sections if section.fronts]
    assert [len(section.fronts) for section in sections] == [1, 2]
    for section in sections:
        for front, limits in zip(section.fronts, answers(section), strict=True):
            ElementTree.fromstring(front.svg)
            assert front.data["limits"] == [limit for limit, _ in limits]
            for line in front.data["lines"]:
                for limit, cells in limits:
                    step = [step for step in line["steps"] if step["ms"] <= limit][-1]
                    cell = cells[line["label"]]
                    assert step["top1"] == pytest.approx(cell.value, abs=1e-4)
                    assert [chosen[1] for chosen in step["chosen"]] == [
                        formats.architecture_text(choice) for choice in cell.choices
                    ]


def test_the_command_finds_the_architecture_that_is_shown(report: Report) -> None:
    (section,) = [section for section in report.sections if len(section.fronts) == 1]
    ((limit, cells),) = answers(section)[0][1:2]
    for line in section.fronts[0].data["lines"][:2]:
        program, *arguments = shlex.split(line["commands"][0])
        assert program == "fofa-search"
        done = run_here(fofa_search, program, *arguments, limit, "--json", cwd=None)
        assert done.returncode == 0, done.stderr
        assert f'"{cells[line["label"]].choices[0].architecture}"' in done.stdout


def test_shared_sentences_are_said_once_and_referred_to(report: Report, page: Path) -> None:
    text = html.unescape(page.read_text())
    captions = [*(t.caption for t in report.tables), *(f.caption for f in report.figures)]
    shared = Caveats.of(captions).sentences
    assert len(shared) > 3
    for number, sentence in enumerate(shared, start=1):
        assert text.count(sentence) == 1
        assert f'<li id="note-{number}">{sentence}</li>' in text
        captioned = sum(number in Caveats(shared).numbers(caption) for caption in captions)
        assert captioned >= 2
        assert (page.parent / "report.md").read_text().count(formats.escape_markdown(sentence)) == 1


def test_the_summary_is_on_top_with_every_verdict(report: Report, page: Path) -> None:
    summary = html.unescape(page.read_text()).partition('<table class="sortable">')[0]
    for table in report.tables:
        assert table.verdict
        for sentence in table.verdict:
            assert f'<li>{sentence} <a href="#{table.name}">' in summary


def test_sources_do_not_read_as_exponents(page: Path) -> None:
    assert "<sup" not in page.read_text()


def test_in_a_browser_every_limit_shows_the_tables_numbers(
    report: Report, page: Path, tmp_path: Path
) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text().replace("</body>", f"{PROBE}</body>"))
    done = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--enable-logging=stderr", "--dump-dom"),
            *(f"--user-data-dir={tmp_path / 'profile'}", probed.as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    assert re.findall(r".*CONSOLE.*", done.stderr) == []
    found = re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None
    said: list[Any] = json.loads(html.unescape(found[1]))
    devices = [limits for s in report.sections if s.fronts for limits in answers(s)]
    assert len(said) == len(devices)
    for shown, limits in zip(said, devices, strict=True):
        for rows, (_, cells) in zip(shown, limits, strict=True):
            assert len(rows) == len(cells)
            for label, top1, chosen in rows:
                cell = cells[label]
                spread = "" if cell.spread is None else f" ± {cell.spread:.2f}"
                assert top1 == f"{cell.value:.2f}{spread}"
                assert chosen.split()[0] == formats.architecture_text(cell.choices[0])
