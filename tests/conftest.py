"""What tests of every package use; the factories themselves stand in `tests/support`.

torch takes seconds to import, and most tests need none: fixtures import it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import made_up_tables
import pytest

if TYPE_CHECKING:
    from fofa.accuracy import AccuracyTable
    from fofa.latency import Lut
    from fofa.runs import Run


def pytest_configure() -> None:
    """Let programs that tests start hear signals, also where `nohup` or a shell's `&` started this.

    Such a start ignores them, and what is ignored stays so in every process below.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Say how a process of pytest-xdist ended that crashed: it says nothing itself when killed."""
    if error:
        code = node.gateway._io.popen.wait(timeout=60)
        print(f"\n{node.gateway.id} ended with exit code {code}", file=sys.stderr)


@pytest.fixture(scope="session")
def make_lut() -> Callable[..., Lut]:
    """The factory of latency tables, `made_up_tables.make_lut`."""
    return made_up_tables.make_lut


@pytest.fixture(scope="session")
def make_accuracy() -> Callable[..., AccuracyTable]:
    """The factory of accuracy tables, `made_up_tables.make_accuracy`."""
    return made_up_tables.make_accuracy


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Run]:
    """The factory of run folders, `tiny_runs.make_run`."""
    from tiny_runs import make_run

    return make_run


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread, unless OMP_NUM_THREADS asks for more: tests leave other cores alone."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    yield
    torch.set_num_threads(before)
