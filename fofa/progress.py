"""Showing how training goes: a bar on a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

LINE_EVERY_S = 30.0


def duration(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `5 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class StepProgress:
    """Steps done, images/s and time left; silent without a console."""

    def __init__(self, console: Console | None, first_step: int, num_steps: int) -> None:
        self._console, self._num_steps = console, num_steps
        self._last_line = time.monotonic()
        self._bar: Progress | None = None
        if console is not None and console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[speed]}"),
                console=console,
            )
            self._task = self._bar.add_task("", total=num_steps, completed=first_step, speed="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(
        self, done: int, phase: str, loss: float, images_per_second: float, seconds_left: float
    ) -> None:
        """Show that `done` steps of the run are done."""
        now = time.monotonic()
        left = duration(seconds_left)
        speed = f"loss {loss:.3f}, {images_per_second:.0f} images/s, {left} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=phase, speed=speed)
        elif self._console is not None and now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            self._console.print(f"{phase}: step {done} of {self._num_steps}, {speed}")
