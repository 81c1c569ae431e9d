"""Steps that are called once each, and what they cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.steps import Steps
from fofa.errors import UserError

PROGRAM = """
import pathlib, sys, time
place = pathlib.Path("calls")
calls = len(place.read_text()) if place.exists() else 0
place.write_text("x" * (calls + 1))
end = time.process_time() + 0.05
while time.process_time() < end: pass
print(f"call {calls + 1} of {sys.argv[1]}")
sys.exit(0 if calls >= int(sys.argv[2]) else 3)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a module that fails a number of times, and uses a little of a processor each time."""
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def test_a_step_is_called_once_and_its_cost_is_kept(folder: Path) -> None:
    steps = Steps(folder)
    assert steps.run("first", "program", "it", 0) == "call 1 of it\n"
    assert steps.run("first", "program", "it", 0) == "call 1 of it\n"
    again = Steps(folder)
    assert again.run("first", "program", "it", 0) == "call 1 of it\n"
    assert again.costs == steps.costs
    assert again.core_seconds(["first"]) >= 0.05


def test_what_a_failed_call_cost_is_paid_too(folder: Path) -> None:
    steps = Steps(folder)
    for _ in range(2):
        with pytest.raises(UserError, match="first ended with exit code 3"):
            steps.run("first", "program", "it", 2)
    assert Steps(folder).run("first", "program", "it", 2) == "call 3 of it\n"
    assert Steps(folder).core_seconds(["first"]) >= 0.15


def test_other_words_and_other_files_are_refused(folder: Path) -> None:
    steps = Steps(folder)
    steps.run("first", "program", "it", 0)
    with pytest.raises(UserError, match="first was program it 0, now program other 0"):
        steps.run("first", "program", "other", 0)
    (folder / "costs.json").write_text(json.dumps({"steps": [{"what": 1}]}))
    with pytest.raises(UserError, match="not what steps cost"):
        Steps(folder)
