"""How far a long piece of work is: a bar on a terminal, a line every half minute elsewhere.

Training, evaluating and measuring all show themselves with `Progress`. It imports rich only when
it has a terminal to draw on, and it draws seldom, because drawing takes time from what is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich import progress as rich_progress
    from rich.console import Console

LINE_EVERY_S = 30.0
REFRESH_PER_SECOND = 2


def duration(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `5 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Progress:
    """Share of the work that is done, and the time left at the rate so far.

    Work is an amount in any unit (steps, multiply-adds): one whose parts take equally long makes
    the time left come true. Without a console everything is silent.

        with Progress(console) as progress:
            progress.stage("measuring", total=40)
            for item in items:
                ...
                progress.advance(1, note="round 3 of 14")
    """

    def __init__(
        self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._clock = console, clock
        self._name, self._total, self._before, self._done = "", 0.0, 0.0, 0.0
        self._began = self._last_line = clock()
        self._bar: rich_progress.Progress | None = None
        if console is not None and console.is_terminal:
            self._bar = _bar(console)
            self._task = self._bar.add_task("", total=None, text="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def stage(self, name: str, total: float, done: float = 0) -> None:
        """A stage of `total` work begins, of which an earlier call had `done` already."""
        self._name, self._total, self._before, self._done = name, total, done, done
        self._began = self._clock()
        if self._bar is not None:
            self._bar.reset(self._task, description=name, total=total, text="")
            self._bar.update(self._task, completed=done)

    def advance(self, amount: float = 1, *, name: str | None = None, note: str = "") -> None:
        """`amount` more of the stage is done; `name`, if given, is what it is called from now."""
        self.update(self._done + amount, name=name, note=note)

    def update(self, done: float, *, name: str | None = None, note: str = "") -> None:
        """`done` of the stage's total is done."""
        self._name, self._done = self._name if name is None else name, done
        now = self._clock()
        if self._bar is not None:
            text = ", ".join(filter(None, (note, self._left(now))))
            self._bar.update(self._task, completed=done, description=self._name, text=text)
        elif self._console is not None and now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            share = f"{100 * done / max(self._total, 1e-9):.0f}%"
            text = ", ".join(filter(None, (share, note, self._left(now))))
            self._console.print(f"{self._name}: {text}")

    def _left(self, now: float) -> str:
        """Time left in words; nothing before there is a rate."""
        rate = (self._done - self._before) / max(now - self._began, 1e-9)
        return f"{duration(max(self._total - self._done, 0) / rate)} left" if rate > 0 else ""


def _bar(console: Console) -> rich_progress.Progress:
    """A bar that vanishes when its context ends."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[text]}"),
        console=console,
        transient=True,
        refresh_per_second=REFRESH_PER_SECOND,
    )
