"""Shells as somebody at a terminal uses them: what they offer when TAB is pressed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from pathlib import Path

READY, END = "ready>", "the-end"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|[\x07\x00]")
SETTINGS = (
    ("show-all-if-ambiguous", "on"),
    ("completion-query-items", "-1"),
    ("page-completions", "off"),
    ("enable-bracketed-paste", "off"),
)
"""Of bash's line editor: one TAB lists all, at once."""
BEGIN = {
    "bash": [*(f"bind 'set {name} {value}'" for name, value in SETTINGS), "source {script}"],
    "zsh": ["autoload -Uz compinit", "compinit -u -D", "LISTMAX=10000", "source {script}"],
}
QUIET = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}
"""Nobody's own settings."""
ENTER, TAB, FORGET = "\r", "\t", "\x15"


def offered(shell: str, script: Path, typed: str, folder: Path) -> list[str]:
    """The words on the screen after TAB behind `typed`: completed, and listed below.

    Args:
        shell: bash, zsh or fish, which is installed.
        script: completion for it.
        folder: where it runs; files in it are offered, too.
    """
    if shell == "fish":
        return _asked_fish(script, typed, folder)
    said = _at_a_terminal(shell, script, typed + TAB, folder)
    return ESCAPES.sub("", said).split()


def _asked_fish(script: Path, typed: str, folder: Path) -> list[str]:
    """Fish says itself what it would offer, without the words' descriptions."""
    code = f"source {script}; complete -C '{typed}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
    )
    assert not done.stderr
    return [line.partition("\t")[0] for line in done.stdout.splitlines()]


def _at_a_terminal(shell: str, script: Path, keys: str, folder: Path) -> str:
    """What appears after `keys` at the prompt of an interactive shell."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        kept = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C", "HISTFILE": ""}
        os.execvpe(shell, [shell, *QUIET[shell]], {**kept, "TERM": "xterm", "PS1": READY})
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 200, 240, 0, 0))
        _until(terminal, READY)
        for line in BEGIN[shell]:
            os.write(terminal, (line.format(script=script) + ENTER).encode())
            _until(terminal, READY, after="\n")
        # The keys are worked off in their order: what comes before the end is of the TAB.
        os.write(terminal, f"{keys}{FORGET}echo {END[:3]}''{END[3:]}{ENTER}".encode())
        return _until(terminal, END).partition(f"echo {END[:3]}''")[0]
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


def _until(terminal: int, mark: str, after: str = "") -> str:
    """What a terminal shows up to `mark` behind `after`; an error if it falls silent before."""
    said = ""
    while mark not in said.partition(after)[2] if after else mark not in said:
        readable, _, _ = select.select([terminal], [], [], 60)
        assert readable, f"the shell says no more after {said!r}"
        said += os.read(terminal, 4096).decode(errors="replace")
    return said
