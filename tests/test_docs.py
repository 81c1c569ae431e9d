"""The documentation: every page is in the site's navigation, every link leads somewhere.

`make docs` builds the site and refuses broken links and anchors; this needs nothing installed.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import guides
import pytest
from console_scripts import PROGRAMS, ROOT, module_of
from typer.main import get_command

SITE = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
TOO_LONG = ("docs/choosing.md", "docs/gpus.md")
"""Pages whose commands no test runs, because they need GPUs or days."""


def pages_of(entries: Any) -> list[str]:
    """The files that a navigation leads to, in order."""
    if isinstance(entries, str):
        return [entries]
    if isinstance(entries, dict):
        entries = list(entries.values())
    return [page for entry in entries for page in pages_of(entry)]


PAGES = pages_of(SITE["nav"])


def test_every_page_is_in_the_navigation_once() -> None:
    found = [*(ROOT / "docs").glob("*.md"), *(ROOT / "reports").rglob("report.md")]
    written = {str(path.relative_to(ROOT)) for path in found}
    assert sorted(PAGES) == sorted(written | {"README.md", "CONTRIBUTING.md"})


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_pages_and_pictures_that_are_there(page: str) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", guides.page(page), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target = link.partition("#")[0]
        if not target or re.match(r"[a-z]+:", target):
            continue
        place = ((ROOT / page).parent / target).resolve()
        assert place.is_file(), f"{page} links {link}"
        if place.suffix == ".md":
            assert str(place.relative_to(ROOT)) in PAGES, (
                f"{page} links {link}, outside of the site"
            )


def test_the_site_has_what_make_docs_copies() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"^docs:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    copied = {word for line in re.findall(r"cp -r (.*)", recipe) for word in line.split()[:-1]}
    for page in PAGES:
        assert copied & {page, *map(str, Path(page).parents)}, f"{page} is not copied"
    assert SITE["docs_dir"] in recipe


@pytest.mark.parametrize("page", TOO_LONG)
def test_commands_that_are_too_long_to_run_have_options_that_there_are(page: str) -> None:
    text = guides.page(page).replace("\\\n", " ")
    lines = [line for line in guides.commands(text) if "fofa-" in line]
    for line in lines:
        words = shlex.split(line[line.index("fofa-") :])
        assert words[0] in PROGRAMS
        known = {
            option
            for param in get_command(module_of(words[0]).app).params
            for option in (*param.opts, *param.secondary_opts)
        }
        assert {word for word in words if word.startswith("--")} <= known, line


def test_recipes_and_presets_of_the_guide_are_those_that_there_are() -> None:
    from fofa.presets import PRESETS
    from fofa.recipes import RECIPES

    text = guides.page("docs/choosing.md")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|.*\| (\d+) \|", text, re.MULTILINE)
    assert {name: int(epochs) for name, epochs in rows} == {
        name: round(build().epochs) for name, build in RECIPES.items()
    }
    presets = text.partition("\n## Preset\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"\| `([a-z0-9-]+)`", presets)) == PRESETS.keys()


def test_the_notebook_is_stored_without_outputs() -> None:
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert code
    assert not [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None]


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, Any] = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        lines = "".join(cell["source"]).splitlines()
        guides.follow([line[1:] for line in lines if line.startswith("!")], tmp_path, guides.FEW)
        source = "\n".join(line for line in lines if not line.startswith("!"))
        exec(compile(source, str(NOTEBOOK), "exec"), names)
    assert (tmp_path / "network.onnx").is_file()
    assert names["result"].max_difference < 1e-3
