"""How a program begins, and how it is stopped: one line and exit code 130, at any moment.

Console scripts call the `Program`s of `fofa.commands`, `profilers.commands` and `bench.commands`,
which call `start` here. It imports nothing but the standard library, so that a signal finds a
handler before the long imports begin. Modules of commands call `stoppable` while they work
(`run_app`).
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from fofa.train.stopping import INTERRUPTED, STOP_SIGNALS

GRACE_SECONDS = 5.0
"""How long a program that was asked to stop may take to clean up."""
IMPORTING = "<frozen importlib._bootstrap>"

Handler = Callable[[int, FrameType | None], None]


@dataclass(frozen=True, slots=True)
class Program:
    """A program: what the entry point of its console script names, and calls.

    Attributes:
        module: holds its typer application `app`, and `main`; imported when the program is called.
        summary: one line for the list of all programs.
        hint: what the line that says that it was stopped goes on with.
    """

    name: str
    module: str
    summary: str
    hint: str = ""

    def __call__(self) -> None:
        """Be this program."""
        start(self.name, self.module, self.hint)


def start(name: str, module: str, hint: str = "") -> None:
    """Import `module` and call its `main`, as the program `name`.

    A signal during the imports ends the program at once: nothing was begun that could be lost.

    Args:
        hint: what the line that says that it was stopped goes on with.
    """
    with _handling(lambda number, frame: leave(name, hint)):
        importlib.import_module(module).main()


def leave(name: str, hint: str = "") -> NoReturn:
    """Say that `name` was stopped and end this process, whatever it is doing."""
    with contextlib.suppress(OSError):
        os.write(2, f"{stopped_line(name, hint)}\n".encode())
    os._exit(INTERRUPTED)


def stopped_line(name: str, hint: str = "") -> str:
    """What a program says that was stopped."""
    return f"{name}: stopped{f'; {hint}' if hint else ''}"


@contextlib.contextmanager
def stoppable(name: str, hint: str = "") -> Iterator[Callable[[], bool]]:
    """Signals raise `KeyboardInterrupt`; yields a function that tells whether one came.

    An exception can get lost (in an import, a destructor, a library that catches all) or come late
    (a long call of a library in C). Therefore a signal during an import, and one whose exception
    Python itself has to drop, end the process at once, and every other one ends it after
    `GRACE_SECONDS` if it has not ended by itself. All files are written whole or not at all, so
    that this loses no more than `KeyboardInterrupt` does.

    Who handles signals otherwise for a while (`fofa.train.stopping`) is left alone, and so are
    signals that the process was started to ignore (nohup).
    """
    asked, ended = threading.Event(), threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if _is_importing(frame):
            leave(name, hint)
        if not asked.is_set():  # it often comes twice: to the group, and from who started it
            asked.set()
            raise KeyboardInterrupt

    def drop(dropped: sys.UnraisableHookArgs) -> None:
        """What Python calls where no caller can be given an exception."""
        if asked.is_set() and dropped.exc_type is KeyboardInterrupt:
            leave(name, hint)
        drop_before(dropped)

    def watch(reader: socket.socket) -> None:
        """Sees every signal, even while the main thread is busy in C."""
        with reader:
            while numbers := reader.recv(16):
                if any(signal.getsignal(number) is ask for number in numbers):
                    if not ended.wait(GRACE_SECONDS):
                        leave(name, hint)
                    return

    def forget() -> None:
        """A forked process has signals of its own; its parent decides when it is to end."""
        if not ended.is_set():
            signal.set_wakeup_fd(-1)
            for number in STOP_SIGNALS:
                if signal.getsignal(number) is ask:
                    ignored = number == signal.SIGINT
                    signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set  # signals are the main thread's
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forget)
    threading.Thread(target=watch, args=(reader,), daemon=True).start()
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    drop_before, sys.unraisablehook = sys.unraisablehook, drop
    try:
        with _handling(ask):
            yield asked.is_set
    finally:
        ended.set()
        sys.unraisablehook = drop_before
        signal.set_wakeup_fd(before)
        writer.close()


@contextlib.contextmanager
def _handling(handler: Handler) -> Iterator[None]:
    """Let `handler` have the signals that stop a program, but for those that are ignored."""
    previous = {
        number: found
        for number in STOP_SIGNALS
        if (found := signal.getsignal(number)) not in (signal.SIG_IGN, None)
    }
    for number in previous:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, found in previous.items():
            signal.signal(number, found)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            return True
        frame = frame.f_back
    return False
