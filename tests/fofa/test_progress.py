"""The one display of progress: silent, in lines, or as a bar."""

import io

import pytest
from rich.console import Console

from fofa.progress import Progress, duration


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_lines_tell_share_note_and_time_left() -> None:
    clock, out = Clock(), io.StringIO()
    with Progress(Console(file=out, width=120), clock=clock) as progress:
        progress.stage("128 px", total=1000, done=200)
        for _ in range(4):
            clock.now += 20
            progress.advance(100, name="128 px, calibration", note="loss 2.000")
    # After 40 s half of the first two lines' time is silence; 200 of 800 are done in 40 s.
    assert out.getvalue().splitlines() == [
        "128 px, calibration: 40%, loss 2.000, 2 min 00 s left",
        "128 px, calibration: 60%, loss 2.000, 1 min 20 s left",
    ]


def test_every_stage_has_its_own_rate() -> None:
    clock, out = Clock(), io.StringIO()
    progress = Progress(Console(file=out, width=120), clock=clock)
    progress.stage("building", total=2)
    clock.now += 1000
    progress.advance(2)
    progress.stage("measuring", total=10)
    clock.now += 50
    progress.update(5)
    assert out.getvalue().splitlines()[1] == "measuring: 50%, 50 s left"


def test_nothing_is_promised_before_anything_is_done() -> None:
    clock, out = Clock(), io.StringIO()
    progress = Progress(Console(file=out, width=120), clock=clock)
    progress.stage("measuring", total=10, done=5)
    clock.now += 50
    progress.update(5)
    assert out.getvalue() == "measuring: 50%\n"


def test_a_terminal_gets_a_bar() -> None:
    out = io.StringIO()
    with Progress(Console(file=out, force_terminal=True, width=120)) as progress:
        progress.stage("24 px, evaluation", total=10)
        progress.advance(10, note="all of it")
    assert "24 px, evaluation" in out.getvalue()
    assert "all of it" in out.getvalue()


def test_without_a_console_nothing_happens(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Progress(clock=clock) as progress:
        progress.stage("measuring", total=1)
        clock.now += 100
        progress.advance()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"), [(41.7, "42 s"), (200, "3 min 20 s"), (18_420, "5 h 07 min")]
)
def test_durations_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text
