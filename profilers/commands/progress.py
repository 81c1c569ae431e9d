"""The progress bar of a measurement, with the time left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

REFRESH_PER_SECOND = 2
"""Seldom: drawing takes CPU time from what is measured."""


class RichProgress:
    """Shows the stages of a measurement one after another on a rich progress bar."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task: TaskID | None = None

    def stage(self, name: str, total: int) -> None:
        """A new stage of `total` steps begins; the one before it is done."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(name, total=total)

    def advance(self, steps: int = 1) -> None:
        """Some steps of the stage are done."""
        if self._task is not None:
            self._bar.advance(self._task, steps)


@contextlib.contextmanager
def progress_bar(console: Console) -> Iterator[RichProgress]:
    """A progress bar on `console` that vanishes when done; without a terminal it stays silent."""
    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("time left"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns,
        console=console,
        transient=True,
        refresh_per_second=REFRESH_PER_SECOND,
        disable=not console.is_terminal,
    ) as bar:
        yield RichProgress(bar)
