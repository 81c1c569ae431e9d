"""Bundles carried, agents at work by themselves, samples brought home, over links that break."""

import contextlib
import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
import remote_machines
from waiting import PATIENCE_SECONDS

from fofa.errors import UserError
from fofa.progress import Progress
from profilers.remote.bundle import make_bundle
from profilers.remote.carry import Errand, LinkLostError
from profilers.remote.request import RemoteOptions
from profilers.remote.transport import Adb, LinkError, Local, Transport, parse_address


class BreakingLink(Transport):
    """The local machine over a link that breaks: before, in the middle of, or after an answer."""

    name = "breaking"

    def __init__(self, folder, breaks, seed=0):
        self.inner, self.left, self.rng = Local(folder), breaks, random.Random(seed)
        self.calls = 0

    @property
    def home(self) -> str:
        return self.inner.home

    def command(self, script: str) -> Sequence[str]:
        return self.inner.command(script)

    def _run(self, script, stdin, timeout):
        self.calls += 1
        kind = self.rng.choice(["before", "after", "none"]) if self.calls > 1 else "none"
        if kind != "none" and self.left:
            self.left -= 1
            if kind == "after":
                super()._run(script, stdin, timeout)
            raise LinkError("cut")
        return super()._run(script, stdin, timeout)


@pytest.fixture
def errand(tmp_path, bundle, bare_python):
    """Makes errands to one machine for one table."""
    home = tmp_path / "home of it"
    home.mkdir()

    def make(transport=None, made=bundle, python=bare_python, **others):
        return Errand(
            transport=transport or Local(home),
            bundle=made,
            options=RemoteOptions(python=str(python)),
            out=tmp_path / "t.json",
            kept=tmp_path / "kept.jsonl",
            progress=Progress(),
            pause=lambda seconds: time.sleep(min(seconds, 0.1)),
            **others,
        )

    make.home = home
    yield make
    assert list(home.iterdir()) == [], "something stays on the machine"


def test_what_comes_home_is_whole_and_the_machine_is_left_clean(errand, bundle):
    run = errand().run()
    assert run.header.bundle == bundle.id
    assert len(run.rounds) == 6


def test_finished_samples_are_not_measured_again(errand):
    first = errand().run()
    assert errand(python="/no/such/python").run() == first
    assert errand().run(fresh=True) != first


@pytest.mark.parametrize("breaks", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_a_link_that_breaks_loses_nothing(errand, breaks):
    link = BreakingLink(errand.home, breaks)
    run = errand(link).run()
    assert len(run.rounds) == 6
    assert link.left < breaks


def slow_bundle(rounds):
    settings = dataclasses.replace(
        remote_machines.SETTINGS,
        min_rounds=rounds,
        max_rounds=rounds,
        visit_ms=20.0,
        max_samples=40,
    )
    return make_bundle(remote_machines.request(settings), RemoteOptions())


def is_at_work(number: int) -> bool:
    """Whether a process is there and no zombie, which nobody may reap in a container."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def agents(home: Path) -> list[int]:
    """The agents at work in a home."""
    found = []
    for folder in home.iterdir():
        with contextlib.suppress(OSError, ValueError):
            found.append(int((folder / "pid").read_text()))
    return [number for number in found if is_at_work(number)]


def wait_for_rounds(home: Path, number: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        lines = [p.read_bytes().count(b"\n") for p in home.glob("*/samples.jsonl")]
        if lines and lines[0] > number:
            return
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_end(agent: int) -> None:
    """Its last line is read before its interpreter is down."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while is_at_work(agent):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_agents_that_are_killed_are_started_again_and_resume(errand):
    made = slow_bundle(8)
    kills = []

    def pause(seconds):
        time.sleep(min(seconds, 0.1))
        lines = [p.read_bytes().count(b"\n") for p in errand.home.glob("*/samples.jsonl")]
        if lines and lines[0] > 1 + 2 * len(kills) and len(kills) < 3:
            for agent in agents(errand.home):
                os.kill(agent, signal.SIGKILL)
                kills.append(agent)

    found = errand(made=made)
    found.pause = pause
    run = found.run()
    assert len(kills) == 3
    assert len(run.rounds) == 8
    assert run.end.resumed_rounds >= 5


def test_the_agent_goes_on_while_nobody_looks_and_the_next_command_finds_it(errand, tmp_path):
    made = slow_bundle(8)

    class OffError(Exception):
        pass

    def pause(seconds):
        time.sleep(min(seconds, 0.1))
        if any(p.read_bytes().count(b"\n") > 2 for p in errand.home.glob("*/samples.jsonl")):
            raise OffError  # as if this program were killed

    killed = errand(made=made)
    killed.pause = pause
    with pytest.raises(OffError):
        killed.run()
    (agent,) = agents(errand.home)
    wait_for_rounds(errand.home, 4)
    run = errand(made=made).run()
    assert len(run.rounds) == 8
    assert run.end.resumed_rounds == 0, "it was one agent all along"
    wait_for_end(agent)


def test_fresh_stops_the_agent_and_begins_anew(errand):
    made = slow_bundle(40)

    class OffError(Exception):
        pass

    def off(seconds):
        raise OffError

    killed = errand(made=made)
    killed.pause = off
    with pytest.raises(OffError):
        killed.run()
    wait_for_rounds(errand.home, 1)
    before = agents(errand.home)
    errand(made=made)._clean()
    assert before
    assert agents(errand.home) == []


def test_an_agent_that_ends_again_and_again_is_given_up_with_what_it_said(errand, tmp_path):
    hopeless = tmp_path / "hopeless"
    remote_machines.write_program(
        hopeless,
        f'case $1 in -m) exec {sys.executable} -I "$@";; esac\n'
        "(echo 'RuntimeError: no such instruction' > log) ; echo 999999 > pid",
    )
    with pytest.raises(UserError, match=r"ended 3 times .* RuntimeError: no such instruction"):
        errand(python=hopeless).run()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 127", "cannot unpack the bundle there"),
        ('case $1 in -m) exec PYTHON -I "$@";; esac; echo no numpy; exit 1', "no numpy"),
    ],
)
def test_a_machine_without_what_is_needed_is_one_line(errand, tmp_path, script, message):
    python = tmp_path / "poor"
    remote_machines.write_program(python, script.replace("PYTHON", sys.executable))
    with pytest.raises(UserError, match=message) as caught:
        errand(python=python).run()
    assert "\n" not in str(caught.value)


HOSTILE = {
    "endless lines": "yes '{}' | head -c 20000000 > samples.jsonl",
    "a line without an end": "head -c 20000000 /dev/zero | tr '\\0' x > samples.jsonl",
    "wrong lines": "echo hello > samples.jsonl",
    "another schema": """echo '{"schema": "fofa.lut/1"}' > samples.jsonl""",
    "escape codes": """printf '\\033[2J\\033]0;owned\\007\\n' > samples.jsonl""",
    "links": "ln -s /etc/passwd samples.jsonl",
    "a folder": "mkdir samples.jsonl; sleep 0",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_agent_is_one_clear_error_and_nothing_is_written(errand, tmp_path, kind):
    hostile = tmp_path / "hostile"
    remote_machines.write_program(
        hostile, f'case $1 in -m) exec {sys.executable} -I "$@";; esac\n{HOSTILE[kind]}'
    )
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(UserError) as caught:
        errand(python=hostile).run()
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    assert len(message) < 700
    assert {path.name for path in tmp_path.iterdir()} == before


class Gone(Transport):
    """A machine that answers a few times and then never again."""

    name = "gone"

    def __init__(self, folder, answers):
        self.inner, self.answers = Local(folder), answers

    @property
    def home(self) -> str:
        return self.inner.home

    def command(self, script: str) -> Sequence[str]:
        return self.inner.command(script)

    def _run(self, script, stdin, timeout):
        self.answers -= 1
        if self.answers < 0:
            raise LinkError("no route to host")
        return super()._run(script, stdin, timeout)


def test_a_machine_that_stays_away_is_one_line_and_found_again(errand):
    with pytest.raises(UserError, match="gone: not reached: no route to host"):
        errand(Gone(errand.home, 0)).run()
    with pytest.raises(LinkLostError, match=r"out of reach .* the same command fetches"):
        errand(Gone(errand.home, 6), patience=0.2).run()
    assert len(errand().run().rounds) == 6


def test_adb_puts_runs_and_gets(errand, tmp_path, monkeypatch):
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    home = tmp_path / "sdcard"
    home.mkdir()
    remote_machines.stand_in_adb(programs, home)
    run = errand(parse_address("adb:SERIAL")).run()
    assert len(run.rounds) == 6
    assert list(home.iterdir()) == []
    with pytest.raises(UserError, match="device 'OTHER' not found"):
        errand(Adb("OTHER"), made=slow_bundle(6)).run()


def test_ssh_puts_runs_and_gets(errand, tmp_path, monkeypatch, sshd):
    monkeypatch.setenv("PATH", f"{sshd.programs}:{os.environ['PATH']}")
    found = errand(parse_address(sshd.address))
    run = found.run()
    assert len(run.rounds) == 6
    answer = found.transport.run(f"ls -d {found.folder}")
    assert answer.status != 0
    with pytest.raises(UserError, match="ssh: not reached"):
        errand(parse_address("ssh://127.0.0.1:1"), made=slow_bundle(6)).run()


@pytest.mark.parametrize("cuts", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_connections_of_ssh_that_are_cut_lose_nothing(errand, tmp_path, monkeypatch, sshd, cuts):
    """Every second ssh is killed, real connections and all, some of them in mid-answer."""
    programs, count = tmp_path / "programs", tmp_path / "count"
    rounds = 10 * cuts  # so many that it is asked often enough
    programs.mkdir()
    remote_machines.write_program(
        programs / "ssh",
        f"n=$(cat {count} 2>/dev/null || echo 0); n=$((n+1)); echo $n > {count}\n"
        f"if [ $((n % 2)) = 0 ] && [ $n -le {2 * cuts} ]; then\n"
        f'{sshd.programs}/ssh "$@" & p=$!; sleep 0.$((n % 7)); kill -9 $p; exit 255\n'
        f'fi\nexec {sshd.programs}/ssh "$@"',
    )
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    found = errand(parse_address(sshd.address), made=slow_bundle(rounds))
    run = found.run()
    assert len(run.rounds) == rounds
    assert int(count.read_text()) >= 2 * cuts
    assert found.transport.run(f"ls -d {found.folder}").status != 0


def test_what_goes_wrong_here_is_told_apart(errand, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="adb is not installed here"):
        errand(Adb("SERIAL")).run()


def test_an_interrupt_leaves_the_agent_at_work_and_says_so(errand):
    warnings = []

    def interrupt(seconds):
        raise KeyboardInterrupt

    made = slow_bundle(6)
    stopped = errand(made=made, warn=warnings.append)
    stopped.pause = interrupt
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    assert ["the same command fetches" in warning for warning in warnings] == [True]
    assert len(errand(made=made).run().rounds) == 6


def test_the_folder_is_private_and_the_agent_a_session_of_its_own(errand):
    """No hang-up of a terminal or a link reaches it."""
    modes, sessions = set(), set()

    def pause(seconds):
        time.sleep(min(seconds, 0.1))
        modes.update(oct(path.stat().st_mode & 0o777) for path in errand.home.iterdir())
        with contextlib.suppress(ProcessLookupError):
            sessions.update(os.getsid(agent) for agent in agents(errand.home))

    found = errand()
    found.pause = pause
    found.run()
    assert modes == {"0o700"}
    assert sessions
    assert os.getsid(0) not in sessions


def test_a_second_command_for_another_table_has_a_folder_of_its_own(errand, tmp_path):
    first, second = errand(), errand()
    second.out = tmp_path / "other.json"
    assert first.folder != second.folder
    assert subprocess.run(["sh", "-c", f"echo {first.folder}"], check=True).returncode == 0
