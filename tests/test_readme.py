"""README.md, followed word for word on fewer images, and what it says of the files beside it."""

from __future__ import annotations

import contextlib
import re
import shlex
import tomllib
from pathlib import Path

import guides
import onnx
import pytest
from console_scripts import ROOT

README = guides.page("README.md")
INSTALL, COMMANDS, *_ = guides.blocks(README)
SLOWER = {"--max-latency 0.5 ": "--max-latency 50 "}
"""A limit that any machine's networks are within."""


def test_what_is_installed_is_this_distribution() -> None:
    """In a clone, which needs no index; docs/install.md has its name for when it is on one."""
    pip, install, place = shlex.split(INSTALL, comments=True)
    assert (pip, install) == ("pip", "install")
    project = tomllib.loads((ROOT / place / "pyproject.toml").read_text(encoding="utf-8"))
    first, *_ = guides.blocks(guides.page("docs/install.md"))
    ways = [shlex.split(line, comments=True)[2:] for line in first.splitlines()]
    assert ways[0] == [place]
    assert ways[-1] == [project["project"]["name"]]


def test_five_commands_are_on_the_first_screen() -> None:
    assert [guides.program_of(line) for line in COMMANDS.splitlines()] == [
        *("fofa-train", "fofa-eval", "fofa-profile", "fofa-search", "fofa-profile")
    ]
    assert README.index(COMMANDS) + len(COMMANDS) < 1600


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_first_screen_works_word_for_word(tmp_path: Path) -> None:
    *before, last = COMMANDS.splitlines()
    said = guides.follow(before, tmp_path, guides.FEW, SLOWER)
    found = re.search(r"net\.onnx: ([2-4]{5}@\d+), checked", said["fofa-search"])
    assert found is not None, "the search writes its own winner"
    model = onnx.load(tmp_path / "net.onnx")
    kept = {entry.key: entry.value for entry in model.metadata_props}
    assert kept["architecture"] == found[1]
    assert len(re.findall(re.escape(found[1]), said["fofa-search"])) > 1, "the table names it, too"

    timed = guides.follow([last], tmp_path, {"fofa-profile": "--budget-seconds 0.5"})
    assert found[1] in timed["fofa-profile"]

    (snippet,) = guides.blocks(README, "python")
    with contextlib.chdir(tmp_path):
        exec(compile(snippet.replace("ms=0.5", "ms=50.0"), "README.md", "exec"), {})
    assert (tmp_path / "again.onnx").is_file()
