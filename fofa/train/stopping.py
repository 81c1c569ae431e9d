"""Stopping by signal: the step is finished, everything is saved, and the exit code is 130."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
ECHO_SECONDS = 3.0
"""The first signal often comes twice: to the whole group, and from torchrun to its processes."""


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether a signal asked this process to stop.

    A second one, some seconds later, does what it would have done without this. Signals that the
    process was started to ignore (nohup) stay ignored.
    """
    previous = {
        number: handler
        for number in STOP_SIGNALS
        if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
    }
    asked_at: float | None = None

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def ask(number: int, _: FrameType | None) -> None:
        nonlocal asked_at
        if asked_at is None:
            asked_at = time.monotonic()
        elif time.monotonic() - asked_at > ECHO_SECONDS:
            restore()
            signal.raise_signal(number)

    for number in previous:
        signal.signal(number, ask)
    try:
        yield lambda: asked_at is not None
    finally:
        restore()
