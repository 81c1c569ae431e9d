"""Machines for tests of measuring elsewhere: an interpreter that has only what an agent may use, a
server of ssh and a stand-in for adb on this machine, and programs that cut links."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from fofa.space import NetworkConfig, SearchSpace
from profilers.hardware.devices import find_device
from profilers.measuring.settings import MeasureSettings
from profilers.plugin import PluginOptions
from profilers.remote.request import PLUGIN
from profilers.tables.measured import LutRequest

SETTINGS = MeasureSettings(
    calibration_networks=4,
    validation_networks=3,
    repeats=1,
    sessions=1,
    min_rounds=6,
    max_rounds=6,
    gap_seconds=0.0,
    warmup_ms=0.1,
    visit_ms=0.1,
)
BLOCKED = """
import runpy
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "onnx", "fofa", "profilers", "pydantic", "psutil"}:
            raise ImportError(name + " is not there")

sys.meta_path.insert(0, Blocker())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def request(settings: MeasureSettings = SETTINGS) -> LutRequest:
    """A small table: 32 px, a quarter of the width."""
    return LutRequest(
        device=find_device("pi4", plugins=[PLUGIN], plugin=PLUGIN),
        space=SearchSpace(width_mult=0.25, resolutions=(32,)),
        config=NetworkConfig(width_mult=0.25, num_classes=10),
        options=PluginOptions(),
        settings=settings,
    )


def bare_python(folder: Path) -> Path:
    """An interpreter, isolated, that cannot import what an agent must do without."""
    blocked, program = folder / "blocked.py", folder / "bare-python"
    blocked.write_text(BLOCKED)
    program.write_text(
        f'#!/bin/sh\ncase $1 in -m) exec {sys.executable} -I "$@";; esac\n'
        f'exec {sys.executable} -I {blocked} "$@"\n'
    )
    program.chmod(0o755)
    return program


@dataclass(frozen=True)
class SshServer:
    """A server of its own on a free port; `programs` has an `ssh` that knows it."""

    address: str
    programs: Path
    process: subprocess.Popen[bytes]


def start_sshd(folder: Path) -> SshServer:
    """A server with keys of its own.

    Skips the test if there is none installed, or it cannot be started.
    """
    sshd = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    ssh, keygen = shutil.which("ssh"), shutil.which("ssh-keygen")
    if not (sshd and ssh and keygen):
        pytest.skip("openssh-server and openssh-client are not installed")
    folder.chmod(0o700)
    for name in ("host", "user"):
        command = [keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True, timeout=60)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server, client = folder / "sshd_config", folder / "ssh_config"
    server.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\n"
        f"AuthorizedKeysFile {folder / 'user.pub'}\nPidFile {folder / 'pid'}\nStrictModes no\n"
        "UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\nMaxStartups 100\n"
    )
    host_key = (folder / "host.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {' '.join(host_key)}\n")
    client.write_text(
        f"IdentityFile {folder / 'user'}\nIdentitiesOnly yes\nStrictHostKeyChecking yes\n"
        f"UserKnownHostsFile {folder / 'known_hosts'}\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    programs = folder / "programs"
    programs.mkdir()
    write_program(programs / "ssh", f'exec {ssh} -F {client} "$@"')
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [sshd, "-D", "-e", "-f", str(server)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                address = f"ssh://{getpass.getuser()}@127.0.0.1:{port}"
                return SshServer(address, programs, process)
        if process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    pytest.skip(f"sshd does not start: {(folder / 'log').read_text()[-300:]}")


def stand_in_adb(programs: Path, root: Path) -> None:
    """An `adb` of one device, SERIAL, whose /data/local/tmp is `root`."""
    write_program(
        programs / "adb",
        f"""
[ "$1" = -s ] || exit 2
[ "$2" = SERIAL ] || {{ echo "adb: device '$2' not found" >&2; exit 1; }}
case $3 in
push) cp "$4" "$(echo "$5" | sed 's,^/data/local/tmp,{root},')";;
exec-out) shift 3; exec sh -c "$(echo "$*" | sed 's,/data/local/tmp,{root},g')";;
*) exit 2;;
esac
""",
    )


def write_program(path: Path, script: str) -> None:
    """A shell script that can be run."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def environment(programs: Path) -> dict[str, str]:
    """This process's environment with `programs` found first."""
    single = {"OMP_NUM_THREADS": "1", "PATH": f"{programs}:{os.environ.get('PATH', '')}"}
    return {**os.environ, **single}
