"""Carrying a bundle to another machine, letting it measure there, and bringing the samples home.

The agent runs there by itself. The link may break at any moment and this program may be killed: the
agent goes on, or is started again and resumes; the same command finds it by the name of its folder.
Samples are fetched piece by piece and checked as they come. Afterwards the folder is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fofa.errors import UserError
from fofa.files import write_bytes
from fofa.progress import Progress
from profilers.remote.bundle import Bundle
from profilers.remote.request import RemoteOptions
from profilers.remote.samples import MAX_LINE_BYTES, RemoteRun, SampleReader
from profilers.remote.transport import LinkError, Transport, readable

FIRST_PAUSE, LONGEST_PAUSE, PAUSE_GROWTH = 0.5, 5.0, 1.5
"""Seconds between two looks; each look is work for the machine that is being measured."""
PATIENCE_SECONDS = 600.0
"""How long a machine that was reached once may stay out of reach."""
MAX_STARTS = 3
"""Agents that may end one after another without a finished round between them."""
FETCH_BYTES = 2 * MAX_LINE_BYTES
BUSY = 3
"""Exit status of an agent that finds another one at work."""
IS_ALIVE = (
    'alive() { pid=$(cat pid 2>/dev/null); case "$pid" in ""|*[!0-9]*) return 1;; esac; '
    'kill -0 "$pid" 2>/dev/null || return 1; '
    '[ ! -r "/proc/$pid/cmdline" ] || grep -q agent.py "/proc/$pid/cmdline"; }'
)
STAGE = re.compile(r"(building|warming up|measuring) ([0-9]{1,7})/([0-9]{1,7})")


class LinkLostError(UserError):
    """A machine that was reached is out of reach; its agent may go on."""


@dataclass(slots=True, kw_only=True)
class Errand:
    """One bundle on one machine.

    Attributes:
        out: the table it is for; an errand for another table has a folder of its own over there.
        kept: where finished samples are put before the machine is left: what is here is not
            measured again.
        pause: waits for some seconds.
    """

    transport: Transport
    bundle: Bundle
    options: RemoteOptions
    out: Path
    kept: Path
    progress: Progress
    warn: Callable[[str], None] = lambda message: None
    pause: Callable[[float], None] = time.sleep
    patience: float = PATIENCE_SECONDS
    _reader: SampleReader = field(init=False)
    _offset: int = 0
    _starts: int = 0
    _stage: str = ""
    _lines: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._reader = self._new_reader()

    @property
    def folder(self) -> str:
        """Where everything is over there, as a word of the shell."""
        key = hashlib.sha256(f"{self.bundle.id}\n{self.out.resolve()}".encode()).hexdigest()
        return f"{self.transport.home}/.fofa-{key[:20]}"

    def run(self, *, fresh: bool = False) -> RemoteRun:
        """Measure there, from the beginning or from where it stands.

        Raises:
            LinkLostError: if the machine is out of reach for too long.
            UserError: if it is not reached, if the agent cannot measure, or if what comes back is
                not what an agent writes.
        """
        reached = False
        if fresh:
            self.kept.unlink(missing_ok=True)
        elif found := self._kept_run():
            return found
        try:
            if fresh:
                self._until_done(self._clean, reached=False)
            reached = self._until_done(self._look, reached=fresh)
            self._until_done(self._step, reached=True)
            run = self._reader.finish()
            write_bytes(self.kept, bytes(self._lines))
        except LinkLostError:
            raise
        except UserError:
            if reached:
                with contextlib.suppress(LinkError, UserError):
                    self._clean()
            raise
        except KeyboardInterrupt:
            self.warn("the other machine goes on; the same command fetches what it measured")
            raise
        try:
            self._until_done(self._clean, reached=True)
        except LinkLostError:
            self.warn(f"{self.folder} stays on the other machine, which is out of reach")
        return run

    def _until_done(self, action: Callable[[], bool], *, reached: bool) -> bool:
        """Repeat `action` until it returns true, over all breaks of the link."""
        pause, lost_at = FIRST_PAUSE, None
        while True:
            try:
                if action():
                    return True
                reached, lost_at = True, None
            except LinkError as error:
                if not reached:
                    raise UserError(f"{self.transport.name}: not reached: {error}") from None
                lost_at = time.monotonic() if lost_at is None else lost_at
                if time.monotonic() - lost_at > self.patience:
                    raise LinkLostError(
                        f"{self.transport.name}: out of reach ({error}); the same command fetches "
                        "what is measured there"
                    ) from None
            self.pause(pause)
            pause = min(PAUSE_GROWTH * pause, LONGEST_PAUSE)

    def _new_reader(self) -> SampleReader:
        return SampleReader(f"samples over {self.transport.name}", self.bundle)

    def _kept_run(self) -> RemoteRun | None:
        """The run whose samples an earlier command brought here; None if they are of another."""
        reader = self._new_reader()
        try:
            reader.feed(self.kept.read_bytes())
            return reader.finish()
        except (OSError, UserError):
            return None

    def _look(self) -> bool:
        self._ask("true")
        return True

    def _step(self) -> bool:
        """Do what is next, by what the machine says; true if all samples are here."""
        begin = self._offset + 1
        answer = self._ask(
            f"cd {self.folder} 2>/dev/null && [ -O . ] && [ -f ready ] "
            "|| { echo absent; exit; }\n"
            f"{IS_ALIVE}\n"
            "if alive; then echo alive; else echo idle; fi\n"
            "printf '%s\\n' \"$(tail -n 1 log 2>/dev/null | head -c 300)\"\n"
            f"tail -c +{begin} samples.jsonl 2>/dev/null | head -c {FETCH_BYTES}"
        )
        state, _, rest = answer.partition(b"\n")
        log, _, samples = rest.partition(b"\n")
        if state == b"absent":
            self._put()
            self._start("")
            return False
        self._take(samples)
        if self._reader.end is not None:
            return True
        said = readable(log)
        self._show(said)
        if state != b"alive" and len(samples) < FETCH_BYTES:
            self._start(said)
        return False

    def _take(self, samples: bytes) -> None:
        """Read the lines that are whole; what an agent was killed over, its successor rewrites."""
        end = samples.rfind(b"\n") + 1
        if not end and len(samples) > MAX_LINE_BYTES:
            end = len(samples)  # which the reader refuses
        before = len(self._reader.rounds)
        self._reader.feed(samples[:end])
        self._lines += samples[:end]
        self._offset += end
        if len(self._reader.rounds) > before:
            self._starts = 0

    def _put(self) -> None:
        self._offset, self._reader = 0, self._new_reader()
        self._lines.clear()
        self._must(
            f"umask 077; rm -rf {self.folder}; mkdir -m 700 {self.folder}",
            "no folder can be made there",
        )
        written = self.transport.put(self.bundle.to_bytes(), f"{self.folder}/bundle.zip")
        if written.status != 0:
            raise UserError("the bundle cannot be written there")
        self._must(
            unpack_script(self.folder, self.options.python),
            f"{self.options.python} cannot unpack the bundle there (--option python=PATH)",
        )

    def _start(self, said: str) -> None:
        """Start an agent, the first one or one that goes on where another ended."""
        if self._starts >= MAX_STARTS:
            raise UserError(
                f"the agent ended {MAX_STARTS} times without finishing a round; it said: "
                f"{said or 'nothing'}"
            )
        self._starts += 1
        python = shlex.quote(self.options.python)
        script = f"cd {self.folder} && umask 077 && {python} agent.py --detach 2>&1"
        answer = self.transport.run(script)
        if answer.status not in (0, BUSY):
            raise UserError(
                f"no agent can be started there: {readable(answer.output) or 'no reason'}"
            )

    def _clean(self) -> bool:
        """Stop the agent, if it runs, and remove everything that was put there."""
        self._must(
            f"{IS_ALIVE}\n"
            f"if cd {self.folder} 2>/dev/null && [ -O . ]; then\n"
            '  alive && kill -9 "$pid"; cd /\n'
            "fi\n"
            f"rm -rf {self.folder}; [ ! -e {self.folder} ]",
            f"{self.folder} cannot be removed there",
        )
        return True

    def _ask(self, script: str) -> bytes:
        return self.transport.run(script).output

    def _must(self, script: str, fault: str) -> None:
        answer = self.transport.run(f"{{ {script}\n}} 2>&1")
        if answer.status != 0:
            raise UserError(f"{fault}: {readable(answer.output) or 'no reason'}")

    def _show(self, said: str) -> None:
        """Show how far it is: rounds that are here, before that what the agent says."""
        found = STAGE.fullmatch(said)
        if not found:
            return
        name, done, total = found[1], int(found[2]), max(int(found[3]), 1)
        if name != self._stage:
            self._stage = name
            self.progress.stage(f"{name} over {self.transport.name}", total)
        self.progress.update(min(done, total))


def unpack_script(folder: str, python: str) -> str:
    """The script that unpacks `bundle.zip`, a zip file, in a folder over there."""
    return (
        f"{{ cd {folder} && umask 077 && {shlex.quote(python)} -m zipfile -e bundle.zip . "
        "&& rm bundle.zip && : > ready; } 2>&1"
    )
