"""How long tests wait for programs that they start."""

import subprocess
import time
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 900.0
"""Far beyond what any of them takes, also where other work keeps every core busy: only a program
that hangs takes longer. pytest's own limit for a test, in pyproject.toml, lies above it."""


def wait_for_file(path: Path, process: subprocess.Popen[Any]) -> None:
    """Wait until the program has written a file; fail at once if it ended before that."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not path.is_file():
        assert process.poll() is None, f"ended with {process.returncode} and wrote no {path.name}"
        assert time.monotonic() < deadline, f"no {path.name}"
        time.sleep(0.02)
