"""The gate runs with what .ci/gate-requirements.txt names, and without torch."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
NAMED = re.findall(r"^[a-z-]+", (ROOT / ".ci/gate-requirements.txt").read_text(), re.MULTILINE)
CODE = """
import sys
from collections import defaultdict
from importlib.metadata import distributions
from bench.commands import fofa_bench
try:
    fofa_bench()
except SystemExit:
    pass
of = defaultdict(set)
for one in distributions():
    name, lines = one.name, (one.read_text("RECORD") or "").splitlines()
    for top in {line.partition("/")[0].partition(".")[0] for line in lines}:
        of[top].add(name)
loaded = {name for module in sys.modules for name in of[module.partition(".")[0]]}
print(*sorted(name.lower().replace("_", "-") for name in loaded))
"""
OURS_OR_THEIRS = re.compile(
    r"fofa-nas|setuptools|annotated-.*|pydantic-core|shellingham|typing-.*|click|markdown-it-py"
    r"|mdurl|pygments|pip"
)
"""This project, and what the named requirements bring with them."""


def test_nothing_else_is_loaded(tmp_path: Path) -> None:
    words = ["--check", "reports/baseline.json"]
    files = ["--summary", str(tmp_path / "s.md"), "--junit", str(tmp_path / "j.xml")]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words, *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = done.stdout.splitlines()[-1].split()
    assert "numpy" in loaded
    assert {name for name in loaded if not OURS_OR_THEIRS.fullmatch(name)} <= {*NAMED}
    assert (tmp_path / "s.md").is_file()


def test_the_bounds_are_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / ".ci/gate-requirements.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    for line in wanted:
        name = re.match(r"[a-z-]+", line).group()
        (theirs,) = [
            one for one in project["dependencies"] if re.match(r"[a-z0-9-]+", one)[0] == name
        ]
        assert line in (theirs, name)
