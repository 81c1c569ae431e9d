"""A program that is stopped says so in one line and ends with 130, whatever it is doing."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import PATIENCE_SECONDS

STOPPED = "fofa-program: stopped; the same command goes on where it was\n"
IMPORTING = """
import time
print("ready", flush=True)
try:
    time.sleep(600)
except BaseException:
    pass  # as some libraries do
def main():
    print("it ran")
"""
WORKING = """
import ctypes, hashlib, os, signal, sys, threading, time
import fofa.commands.start
from fofa.commands.cli import make_app, run_app
# Long enough to clean up on a busy machine, short where nothing else ends the program.
at_once = {"cleanup", "destructor"} & set(sys.argv)
fofa.commands.start.GRACE_SECONDS = 60 if at_once else 0.2
app = make_app("A program.")

class Careless:
    def __del__(self):
        print("ready", flush=True)
        time.sleep(600)

@app.command()
def command(what: str) -> None:
    if what == "destructor":
        Careless()
        time.sleep(600)
    if what == "cleanup":
        try:
            print("ready", flush=True)
            time.sleep(600)
        finally: print("cleaned up", flush=True)
    print("ready", flush=True)
    match what:
        case "python": time.sleep(600)
        case "deaf":
            while True:
                try: time.sleep(600)
                except BaseException: pass
        case "c": hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
        case "lost process":
            try: time.sleep(600)
            finally: raise RuntimeError("a worker was killed by signal: Interrupt")
def main():
    run_app(app, "fofa-program", hint="the same command goes on where it was")
"""
CHILD = """
import os, signal, time
from fofa.commands.cli import make_app, run_app
import fofa.commands.start
fofa.commands.start.GRACE_SECONDS = 0.2
app = make_app("A program.")
@app.command()
def command() -> None:
    heard, told = os.pipe()
    child = os.fork()
    if not child:
        os.write(told, b"ready")
        time.sleep(600)
        os._exit(0)
    os.read(heard, 5)
    os.kill(child, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    time.sleep(0.5)
    print("went on")
run_app(app, "fofa-program")
"""

Begin = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def begin(tmp_path: Path) -> Begin:
    """Starts a program from the source of its module, and waits until it is ready."""

    def begun(source: str, *arguments: str) -> subprocess.Popen[str]:
        (tmp_path / "program.py").write_text(source)
        code = (
            "from fofa.commands.start import start; "
            "start('fofa-program', 'program', 'the same command goes on where it was')"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    return begun


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_while_it_imports(begin: Begin, number: signal.Signals) -> None:
    process = begin(IMPORTING)
    process.send_signal(number)
    assert process.communicate(timeout=PATIENCE_SECONDS) == ("", STOPPED)
    assert process.returncode == 130


@pytest.mark.parametrize("what", ["python", "deaf", "c", "cleanup", "lost process", "destructor"])
def test_stopped_while_it_works(begin: Begin, what: str) -> None:
    process = begin(WORKING, what)
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert said == ("cleaned up\n" if what == "cleanup" else "")
    assert complained == STOPPED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_every_signal_that_stops_lets_it_clean_up(begin: Begin, number: signal.Signals) -> None:
    process = begin(WORKING, "cleanup")
    process.send_signal(number)
    assert process.communicate(timeout=PATIENCE_SECONDS) == ("cleaned up\n", STOPPED)
    assert process.returncode == 130


def test_a_signal_to_a_forked_process_is_its_own() -> None:
    done = subprocess.run(
        # Of a fork beside a thread, which is the case that is tried, newer Pythons warn.
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", CHILD],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "-15\nwent on\n", "")


def test_what_is_to_be_ignored_stays_ignored(begin: Begin) -> None:
    code = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "from fofa.commands.start import stoppable\n"
        "with stoppable('x'): os.kill(os.getpid(), signal.SIGHUP); print('went on')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "went on\n"
