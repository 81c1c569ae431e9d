"""OpenVINO is imported without its telemetry."""

from __future__ import annotations

import subprocess
import sys

CODE = """
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


def test_importing_it_sends_nothing_and_starts_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "0", "False"]
