"""Stopping by signal: the step is finished, everything is saved, and the exit code is 130.

So it is for a program that this one runs and waits for.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import IO, Any

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


def run_child(command: Sequence[str], stdout: int | IO[Any] | None = None) -> int:
    """Run a command in a process and wait for it, whatever happens; its exit code.

    A signal to stop is passed on (Ctrl-C reaches the child by itself, too); it saves its state and
    ends, and only then this returns. 130 also where the child was done in that moment, or had not
    begun: who asked to stop does not want the next step.

    Args:
        stdout: where its output goes, as `subprocess.Popen` takes it.
    """
    child: subprocess.Popen[bytes] | None = None
    asked: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        asked.append(number)
        if child is not None:
            child.send_signal(number)

    previous = {
        number: signal.signal(number, pass_on)
        for number in STOP_SIGNALS
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }
    try:
        child = subprocess.Popen(command, stdout=stdout)
        for number in asked:  # before there was a child
            child.send_signal(number)
        code = child.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return INTERRUPTED if -code in STOP_SIGNALS or (asked and code == 0) else code
