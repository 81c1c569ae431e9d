"""Progress of an evaluation on a console, with the time left; a line now and then without one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

LINE_SECONDS = 30.0


class ConsoleMeter:
    """Shows how far an evaluation got: work in multiply-adds, and the time left by their rate."""

    def __init__(self, console: Console, bar: Progress, task: TaskID) -> None:
        self._console = console
        self._bar = bar
        self._task = task
        self._total = self._before = self._done = 0
        self._began = self._spoke = time.monotonic()

    def begin(self, total: int, done: int) -> None:
        """`done` out of `total` was done by an earlier call."""
        self._total, self._before, self._done = total, done, done
        self._began = self._spoke = time.monotonic()
        self._bar.update(self._task, total=total, completed=done)

    def advance(self, amount: int, doing: str) -> None:
        """`amount` more is done, as part of `doing`."""
        self._done += amount
        left = f"{self._time_left()} left"
        self._bar.update(self._task, completed=self._done, description=doing, left=left)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._spoke >= LINE_SECONDS:
            self._spoke = now
            share = 100 * self._done / max(self._total, 1)
            self._console.print(f"{doing}: {share:.0f}% of everything, {left}")

    def _time_left(self) -> timedelta:
        here = self._done - self._before
        rate = here / max(time.monotonic() - self._began, 1e-9)
        seconds = max(self._total - self._done, 0) / rate if rate else 0.0
        return timedelta(seconds=round(seconds))


@contextmanager
def console_meter(console: Console) -> Iterator[ConsoleMeter]:
    """A progress bar on `console` that vanishes when done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("starting", total=None, left="")
        yield ConsoleMeter(console, bar, task)


class SilentMeter:
    """Says nothing: for the other processes of a job, and for callers without a console."""

    def begin(self, total: int, done: int) -> None:
        """Nothing to show."""

    def advance(self, amount: int, doing: str) -> None:
        """Nothing to show."""
