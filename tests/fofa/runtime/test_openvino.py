"""OpenVINO is imported without its telemetry, and leaves the process one that takes signals."""

from __future__ import annotations

import subprocess
import sys

IMPORT = """
import os, sys, threading
forks = []
os.register_at_fork(after_in_parent=lambda: forks.append(1))
from fofa.runtime.openvino import load_openvino
openvino = load_openvino()
assert openvino is load_openvino()
openvino.Core()
from openvino.tools import ovc
print(type(ovc.telemetry).__module__, len(forks), "openvino_telemetry" in sys.modules)
"""

SIGNALS = """
import faulthandler, gc, os, signal
faulthandler.enable()
taken = []
signal.signal(signal.SIGUSR1, lambda *_: taken.append(1))
from profilers.conformance import SMALL, parse_architecture, architecture_blocks
from profilers.plugin import PluginOptions
from profilers.plugins.openvino import PLUGIN
blocks = architecture_blocks(parse_architecture("22222@32"), SMALL)
for first_to_go in (0, -1, 0):
    sessions = [PLUGIN.open(PluginOptions(batch_size=1)) for _ in range(3)]
    runners = [session.lower(blocks) for session in sessions]
    while sessions:
        runners.pop(first_to_go).run()
        sessions.pop(first_to_go).close()
        gc.collect()
        os.kill(os.getpid(), signal.SIGUSR1)
print(len(taken))
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_importing_it_sends_nothing_and_starts_nothing() -> None:
    done = run(IMPORT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "0", "False"]


def test_a_signal_after_several_sessions_is_handled() -> None:
    done = run(SIGNALS)
    assert (done.returncode, done.stdout.strip()) == (0, "9"), done.stderr[-2000:]
