"""Starts the project's programs quickly: the libraries are imported once, a program is a fork.

A script that the fixture `programs` runs. It reads requests from standard input, one JSON object a
line, and answers each with a line: `{"start": ...}` with the process's number, `{"poll": number}`
with its exit code (negative: the signal that ended it) or null while it runs.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import traceback
from typing import Any

from fofa.commands.start import leave
from fofa.train.stopping import STOP_SIGNALS

PRELOADED = (
    "fofa.train.launch",
    "fofa.evaluate.table",
    "torch._dynamo",
    "fofa.commands.search",
    "fofa.export.exporter",
    "fofa.predictor.training",
    "profilers.tables.build",
    "bench.reports.build",
)
FEWER_SHAPES = {"NUM_TRAIN": 40, "NUM_TEST": 50}
"""Drawing all the pictures of `shapes` would take longer than all else that these tests do."""


def start(request: dict[str, Any]) -> int:
    """Fork, and become the program in the child, which is stopped as one that a user started.

    A signal waits until what the program says goes to its own files.
    """
    before = {
        number: signal.signal(number, lambda *_: leave(request["name"])) for number in STOP_SIGNALS
    }
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    child = os.fork()
    if child:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        return child
    code = 70
    try:
        become(request)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        importlib.import_module(request["module"]).main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        # What the interpreter would do with a programming error; the tests look for it.
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def become(request: dict[str, Any]) -> None:
    """Take on the program's arguments, folder, environment and files."""
    os.setsid()
    for number, name in ((0, os.devnull), (1, request["stdout"]), (2, request["stderr"])):
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, number)
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    sys.argv = [request["module"], *request["arguments"]]


def poll(number: int) -> int | None:
    """The exit code of a program that was started, None while it runs."""
    ended, status = os.waitpid(number, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def serve() -> None:
    """Answer requests until standard input ends."""
    for name in PRELOADED:
        importlib.import_module(name)
    vars(importlib.import_module("fofa.data.shapes")).update(FEWER_SHAPES)
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        answer = poll(request["poll"]) if "poll" in request else start(request["start"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
