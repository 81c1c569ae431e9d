"""OpenVINO, imported without what its package sends to its makers, with one `Core` a process."""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType
from typing import Any

from fofa.errors import UserError

INSTALL_HINT = "pip install 'fofa-nas[openvino]'"
TELEMETRY = "openvino_telemetry"


def load_openvino() -> ModuleType:
    """The module `openvino`.

    When it is first imported its package sends an event over the network, from a process forked
    off a thread: nobody asked for that, and it disturbs what is being measured. The package that
    sends is an optional import, so it is hidden meanwhile.

    Raises:
        UserError: saying what to install, if it cannot be imported.
    """
    loaded = sys.modules.get(TELEMETRY)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # what makes an import fail
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise UserError(f"openvino cannot be imported ({error}): {INSTALL_HINT}") from None
    finally:
        if loaded is None:
            del sys.modules[TELEMETRY]
        else:
            sys.modules[TELEMETRY] = loaded


@functools.cache
def openvino_core() -> Any:
    """The process's one `openvino.Core`, which lives as long as the process.

    A Core that has compiled a network gives the thread another stack for signals, and takes it away
    when it goes. Of two Cores the first that goes takes away what the second one restores later:
    from then on the next signal that a Python function handles (Ctrl-C, or the end of a child
    process) ends the process with SIGSEGV, and not a word.

    Raises:
        UserError: if openvino cannot be imported.
    """
    return load_openvino().Core()
