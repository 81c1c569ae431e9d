"""The HTML report: whole, self-contained, every link leads somewhere; quiet in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from waiting import PATIENCE_SECONDS

from bench.reports.build import build
from bench.reports.pages import write_report
from bench.tables.collect import collect
from bench.tables.devices import WantedLimits

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
VOID = {"meta", "link", "br", "hr", "img", "input"}

PROBE = """
<script>
window.addEventListener("load", () => {
  const table = document.querySelector("table.sortable");
  const button = table.tHead.rows[table.tHead.rows.length - 1].cells[1].querySelector("button");
  button.click();
  const column = [...table.tBodies[0].rows].map((row) => row.cells[1].dataset.sort);
  document.title = "sorted:" + column.join(",");
});
</script>
"""


class Page(HTMLParser):
    """Ids, links, and the stack of open elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.ids.append(values["id"] or "")
        if tag == "a":
            self.links.append(values.get("href") or "")
        if tag in ("script", "img", "iframe") and values.get("src"):
            self.loaded.append(values["src"] or "")
        if tag == "link":
            self.loaded.append(values.get("href") or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report(shared_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    collection = collect(
        accuracy_dir=shared_project / "reports/accuracy", luts_dir=shared_project / "luts"
    )
    made = build(
        collection,
        tables=["2", "3", "4", "5"],
        figures=["1", "4"],
        limits=WantedLimits(),
    )
    made.notes.append("<script>alert('note')</script>")
    return write_report(made, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def page(report: Path) -> Page:
    return Page(report.read_text())


def test_elements_are_closed_and_ids_unique(page: Page) -> None:
    assert page.open == []
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []


def test_every_link_leads_somewhere(page: Page, report: Path) -> None:
    assert len(page.links) > 100
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert (report.parent / link).resolve().is_file(), link


def test_every_number_is_one_click_from_its_sources(report: Path) -> None:
    text = report.read_text()
    values = re.findall(r'<a class="value" href="#(accuracy-[^"]+)"', text)
    details = re.findall(r'<a class="detail" href="#(lut-[^"]+)"', text)
    assert len(values) > 90
    assert len(set(details)) == 4
    for anchor in {*values, *details}:
        assert f'<article id="{anchor}">' in text


def test_every_front_is_drawn_once(report: Path) -> None:
    drawn = re.findall(r'aria-label="(Pareto fronts on [^"]+)"', report.read_text())
    assert len(drawn) == len(set(drawn)) == 4


def test_nothing_is_loaded_from_elsewhere(page: Page, report: Path) -> None:
    assert page.loaded == ["data:,"]
    assert "@import" not in report.read_text()


def test_text_is_escaped(report: Path) -> None:
    assert "<script>alert" not in report.read_text()


def test_a_browser_opens_it_without_an_error_and_sorts(report: Path, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    probed = tmp_path / "probed.html"
    probed.write_text(report.read_text().replace("</body>", f"{PROBE}</body>"))
    done = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr",
            "--dump-dom",
            probed.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    assert re.findall(r".*CONSOLE.*", done.stderr) == []
    title = re.search(r"<title>sorted:([0-9.,]+)</title>", done.stdout)
    assert title is not None
    numbers = [float(value) for value in title[1].split(",")]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 6
