"""Without a terminal, progress is a line now and then."""

import io

import pytest
from rich.console import Console

from fofa.evaluate import meter as module
from fofa.evaluate.meter import console_meter


def test_lines_tell_share_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, *(step * 20.0 for step in range(100))])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    out = io.StringIO()
    with console_meter(Console(file=out, width=120)) as meter:
        meter.begin(1000, 200)
        for _ in range(4):
            meter.advance(100, "128 px, calibration")
    lines = out.getvalue().splitlines()
    assert len(lines) >= 2
    assert lines[0].startswith("128 px, calibration: ")
    assert "% of everything" in lines[0]
    assert lines[0].endswith("left")


def test_a_terminal_gets_a_bar_that_vanishes() -> None:
    out = io.StringIO()
    with console_meter(Console(file=out, force_terminal=True, width=120)) as meter:
        meter.begin(10, 0)
        meter.advance(10, "24 px, evaluation")
    assert "24 px, evaluation" in out.getvalue()
