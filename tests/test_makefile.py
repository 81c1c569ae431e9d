"""What the Makefile's commands write, without running them."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
from console_scripts import SCRIPTS, module_of

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make here")


def commands(target: str) -> list[list[str]]:
    """The project's programs that a target calls, with their arguments."""
    done = subprocess.run(
        ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [shlex.split(line) for line in done.stdout.splitlines() if "/bin/fofa" in line]
    return [[Path(line[0]).name, *line[1:]] for line in lines]


def written(target: str) -> list[str]:
    return [words[words.index("--out") + 1] for words in commands(target) if "--out" in words]


def test_bench_writes_where_git_does_not_look() -> None:
    places = written("bench")
    assert places == ["out/luts/epyc.json", "out/reports"]
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "/out/" in ignored


def test_the_committed_files_change_when_asked_only() -> None:
    assert written("report") == ["luts/epyc.json", "reports"]


@pytest.mark.parametrize("target", ["bench", "report", "reproduce"])
def test_the_programs_know_the_options(target: str) -> None:
    for name, *words in commands(target):
        assert name in SCRIPTS
        params = typer.main.get_command(module_of(name).app).params
        known = {option for param in params for option in param.opts}
        assert {word for word in words if word.startswith("--")} <= known
