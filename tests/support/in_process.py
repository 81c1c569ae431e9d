"""Programs run by a call in this process: what they print and exit with, without a new interpreter.

An interpreter that imports the libraries takes a second or more, which tests of options and
messages need not pay each; every program is also started as a user starts it somewhere.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch


def run_here(
    main: Callable[[], object], name: str, *arguments: object, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Call `main` as the program `name` in the folder `cwd`, with `env` added to the environment.

    Raises:
        AssertionError: if it returns without an exit code.
    """
    command = [name, *map(str, arguments)]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with (
        contextlib.chdir(cwd or Path.cwd()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        patch.dict(os.environ, env),
        patch("sys.argv", command),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        else:
            raise AssertionError(f"{name} ended without an exit code")
    assert isinstance(code, int)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(command, code, *texts)
