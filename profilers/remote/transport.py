"""Ways to another machine: the system's ssh, the system's adb, or none at all (`local:`).

A transport runs short shell scripts over there and nothing else; what is long goes on by itself
(`profilers.remote.carry`). Whatever comes back is limited in length and time. Every answer ends
with a word that was made up for it: one that a broken link cut short is never taken for whole.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import selectors
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fofa.errors import UserError

TIMEOUT_SECONDS = 120.0
MAX_ANSWER_BYTES = 16_000_000
MAX_COMPLAINT_BYTES = 65_536
PIECE = 65_536
CONNECT_SECONDS = 15
USER = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
HOST = r"[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]"
SERIAL = r"[A-Za-z0-9][A-Za-z0-9._:-]*"
FORMS = "ssh://user@host[:port], adb:SERIAL or local:"


class LinkError(Exception):
    """The other machine could not be reached, or not to the end; says what the link's program said.

    It may have done what it was asked, and may be reached again.
    """


@dataclass(frozen=True, slots=True)
class Answer:
    """What a script over there wrote, and its exit status."""

    status: int
    output: bytes


class Transport(ABC):
    """A way to one machine. `name` is what tables call it."""

    name: str

    @property
    @abstractmethod
    def home(self) -> str:
        """The folder for our own, as a word of the shell over there."""

    @abstractmethod
    def command(self, script: str) -> Sequence[str]:
        """The command that runs a shell script over there."""

    def run(self, script: str, *, timeout: float = TIMEOUT_SECONDS) -> Answer:
        """Run a script to its end.

        Raises:
            LinkError: if the link broke, or did not answer in time.
            UserError: if more comes back than any script has to say, or the link's program is
                missing.
        """
        return self._run(script, None, timeout)

    def put(self, data: bytes, path: str, *, timeout: float = TIMEOUT_SECONDS) -> Answer:
        """Write `data` to the file `path` over there (a word of the shell)."""
        with tempfile.TemporaryFile() as content:
            content.write(data)
            content.seek(0)
            return self._run(f"cat > {path}", content, timeout)

    def _run(self, script: str, stdin: IO[bytes] | None, timeout: float) -> Answer:
        word = secrets.token_hex(8)
        begin, end = f"begin-{word}\n".encode(), f"\nend-{word}:".encode()
        whole = f"printf 'begin-{word}\\n'; ( {script}\n); printf '\\nend-{word}:%s\\n' \"$?\""
        output, complaint = call(self.command(whole), stdin, timeout)
        _, found, rest = output.partition(begin)
        answer, ended, after = rest.rpartition(end)
        status, whole_line, _ = after.partition(b"\n")
        if not found or not ended or not whole_line or not status.isdigit():
            raise LinkError(_last_line(complaint) or "no answer")
        return Answer(int(status), answer)


@dataclass(frozen=True, slots=True)
class Ssh(Transport):
    """The system's ssh, with keys and settings as its user has them; it never asks for anything."""

    target: str
    port: int | None = None
    name = "ssh"

    @property
    def home(self) -> str:
        return '"${HOME:-/tmp}"'

    def command(self, script: str) -> Sequence[str]:
        port = [] if self.port is None else ["-p", str(self.port)]
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": CONNECT_SECONDS,
            "ServerAliveInterval": 10,
            "ServerAliveCountMax": 3,
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-T", *words, *port, "--", self.target, f"exec sh -c {shlex.quote(script)}"]


@dataclass(frozen=True, slots=True)
class Adb(Transport):
    """The system's adb, to one device by its serial number."""

    serial: str
    name = "adb"

    @property
    def home(self) -> str:
        return "/data/local/tmp"

    def command(self, script: str) -> Sequence[str]:
        # `exec-out` hands bytes on as they are; `shell` of older ones turns line ends.
        return ["adb", "-s", self.serial, "exec-out", f"sh -c {shlex.quote(script)}"]

    def put(self, data: bytes, path: str, *, timeout: float = TIMEOUT_SECONDS) -> Answer:
        with tempfile.NamedTemporaryFile() as content:
            content.write(data)
            content.flush()
            command = ["adb", "-s", self.serial, "push", content.name, path]
            _, complaint = call(command, None, timeout)
        answer = self.run(f"wc -c < {path}")
        if answer.output.strip() != str(len(data)).encode():
            raise LinkError(_last_line(complaint) or "adb push did not push all of it")
        return Answer(0, b"")


@dataclass(frozen=True, slots=True)
class Local(Transport):
    """This machine, as if it were another one; everything is put into `folder`."""

    folder: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    name = "local"

    @property
    def home(self) -> str:
        return shlex.quote(str(self.folder))

    def command(self, script: str) -> Sequence[str]:
        return ["sh", "-c", script]


def is_address(device: str) -> bool:
    """Whether `--device` names a way to a machine."""
    return device.startswith(("ssh:", "adb:", "local:"))


def parse_address(address: str) -> Transport:
    """The transport of an address.

    Raises:
        UserError: if it is none.
    """
    if address == "local:":
        return Local()
    if found := re.fullmatch(f"adb:({SERIAL})", address, re.ASCII):
        return Adb(found[1])
    pattern = f"ssh://(?:({USER})@)?({HOST})(?::([0-9]{{1,5}}))?/?"
    if found := re.fullmatch(pattern, address, re.ASCII):
        user, host, port = found[1], found[2].strip("[]"), found[3]
        if port is None or 0 < int(port) < 65536:
            target = f"{user}@{host}" if user else host
            return Ssh(target, None if port is None else int(port))
    raise UserError(f"--device {address!r}: expected {FORMS}")


def call(command: Sequence[str], stdin: IO[bytes] | None, timeout: float) -> tuple[bytes, bytes]:
    """What a command writes to its output and to its error output, both limited.

    Raises:
        LinkError: if it does not end in time.
        UserError: if there is no such program, or it writes without an end.
    """
    if shutil.which(command[0]) is None:
        raise UserError(f"{command[0]} is not installed here")
    limits = {"output": MAX_ANSWER_BYTES, "complaint": MAX_COMPLAINT_BYTES}
    found = {name: bytearray() for name in limits}
    deadline = time.monotonic() + timeout
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # what interrupts us does not interrupt it in the middle
    ) as process:
        try:
            with selectors.DefaultSelector() as selector:
                assert process.stdout is not None
                assert process.stderr is not None
                selector.register(process.stdout, selectors.EVENT_READ, "output")
                selector.register(process.stderr, selectors.EVENT_READ, "complaint")
                while selector.get_map():
                    ready = selector.select(max(0.0, deadline - time.monotonic()))
                    if not ready:
                        raise LinkError(f"no answer within {timeout:.0f} seconds")
                    for key, _ in ready:
                        piece = os.read(key.fd, PIECE)
                        if not piece:
                            selector.unregister(key.fileobj)
                        found[key.data] += piece
                        if len(found[key.data]) > limits[key.data]:
                            raise UserError(
                                f"{Path(command[0]).name}: more than {limits[key.data]} bytes came "
                                "back: this is no agent of ours"
                            )
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise LinkError(f"no answer within {timeout:.0f} seconds") from None
        finally:
            end_group(process)
    return bytes(found["output"]), bytes(found["complaint"])


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started in a session of its own, with all that it started there."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def readable(text: bytes, length: int = 300) -> str:
    """Text from over there as one line that a terminal can be given."""
    words = text.decode("utf-8", errors="replace").split()
    return "".join(c if c.isprintable() else "?" for c in " ".join(words))[:length]


def _last_line(text: bytes) -> str:
    lines = text.strip().splitlines()
    return readable(lines[-1]) if lines else ""
