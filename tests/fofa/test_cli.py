"""How programs end: one line and the right exit code, whatever went wrong."""

import re
import subprocess
import sys

import pytest

from fofa.commands.cli import joined_lists, parse_resolutions
from fofa.errors import UserError

PROGRAM = """
import sys
from fofa.commands.cli import make_app, run_app
from fofa.errors import UserError
app = make_app("A program.")
@app.command()
def command(fault: str) -> None:
    match fault:
        case "none": print("done")
        case "user": raise UserError("file.json: wrong\\nin two lines")
        case "missing": open("/nowhere/at/all")
        case "interrupt": raise KeyboardInterrupt
        case "check": sys.exit(1)
        case "memory": raise MemoryError("Unable to allocate 28.6 GiB")
        case "list": [0] * 2**60
        case "torch": import torch; torch.empty(2**48)
        case "gpu": raise type("OutOfMemoryError", (RuntimeError,), {})("No CUDA memory.\\nMore")
        case "bug": raise RuntimeError("bug")
run_app(app, "fofa-program")
"""


@pytest.mark.parametrize(
    ("fault", "code", "line"),
    [
        ("none", 0, ""),
        ("check", 1, ""),
        ("user", 2, "fofa-program: file.json: wrong in two lines\n"),
        ("missing", 2, "fofa-program: /nowhere/at/all: No such file or directory\n"),
        ("memory", 2, "fofa-program: not enough memory: Unable to allocate 28.6 GiB\n"),
        ("list", 2, "fofa-program: not enough memory\n"),
        ("gpu", 2, "fofa-program: not enough memory: No CUDA memory.\n"),
        ("interrupt", 130, ""),
    ],
)
def test_exit_codes(fault: str, code: int, line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, fault], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (code, line)


def test_memory_that_torch_does_not_get_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "torch"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("fofa-program: not enough memory: ")
    assert done.stderr.count("\n") == 1


def test_a_programming_error_stays_a_traceback_and_is_no_check_that_failed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "bug"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 70
    assert "RuntimeError: bug" in done.stderr


def test_wrong_options_exit_with_2() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "none", "--tpyo"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--tpyo" in done.stderr


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("run --resolutions 128 160 --out f", "run --resolutions 128,160 --out f"),
        ("run --resolutions 128,160 --out f", "run --resolutions 128,160 --out f"),
        ("--resolutions 128 run 160", "--resolutions 128 run 160"),
        ("--architectures 22222@128 3x4+5x6@160 run", "--architectures 22222@128,3x4+5x6@160 run"),
        ("--resolutions 96 128 160 --seed 1 2", "--resolutions 96,128,160 --seed 1 2"),
        ("--resolutions", "--resolutions"),
        ("--seed 1 --limit 20", "--seed 1 --limit 20"),
    ],
)
def test_lists_may_be_written_with_spaces(typed: str, meant: str) -> None:
    assert joined_lists(typed.split()) == meant.split()


@pytest.mark.parametrize("text", ["128,160", "160, 128", "128 160", ",160,128,"])
def test_resolutions_however_written(text: str) -> None:
    assert parse_resolutions(text) == (128, 160)


def test_no_resolutions() -> None:
    assert parse_resolutions(None) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("24px", "--resolutions '24px': expected sizes in pixels, such as 128,160"),
        ("", "--resolutions '': expected sizes in pixels"),
        ("١٢٨", "expected sizes in pixels"),
        ("128,128", "expected one or more, each once"),
        ("128,4", "expected 8 to 4096 px"),
    ],
)
def test_resolutions_that_are_none(text: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        parse_resolutions(text)
