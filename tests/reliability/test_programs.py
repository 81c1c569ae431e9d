"""What holds for every program there is: the console scripts of pyproject.toml are the list."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from console_scripts import SCRIPTS, module_of

from fofa.commands.help import EXIT_CODES

ROOT = Path(__file__).parents[2]
LIGHT = {"click", "numpy", "pydantic", "rich", "torch", "typer"}
"""None of these is imported when a program begins."""


def commands(command: Any) -> Iterator[Any]:
    """A command, or those that it has under it."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield command
        return
    for one in inner.values():
        yield from commands(one)


def test_programs_begin_before_anything_is_imported() -> None:
    packages = {target.partition(":")[0] for target in SCRIPTS.values()}
    code = f"import sys, {', '.join(packages)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not LIGHT & set(done.stdout.split())


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_command_says_what_its_exit_codes_mean(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = module_of(script)
    for command in commands(typer.main.get_command(module.app)):
        assert EXIT_CODES in (command.epilog or ""), f"{script} {command.name}"


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_0_and_a_wrong_option_is_2(script: str, programs: Any) -> None:
    done = programs.run(script, "--help").check(0)
    assert "Usage: " in done.stdout
    hostile = "--no\n::stop-commands::x\x1b[2J"
    wrong = programs.run(script, hostile, env={"GITHUB_ACTIONS": "true"}).check(2)
    assert not [line for line in wrong.stderr.splitlines() if line.lstrip().startswith("::")]
    assert "\x1b" not in wrong.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_closed_standard_output_is_2(script: str) -> None:
    package, _, function = SCRIPTS[script].partition(":")
    code = f"from {package} import {function}; {function}()"
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -c "$1" --help >&-', sys.executable, code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    said = "standard output is closed; send it to /dev/null if it is not wanted"
    assert (done.returncode, done.stderr) == (2, f"{script}: {said}\n")


@pytest.fixture(scope="module")
def tables(
    tmp_path_factory: pytest.TempPathFactory,
    make_lut: Callable[..., Any],
    make_accuracy: Callable[..., Any],
) -> tuple[str, ...]:
    """Arguments of a search over made up tables; the device's name would give orders."""
    folder = tmp_path_factory.mktemp("tables")
    lut = make_lut()
    name = "x\n::stop-commands::y\r##[error]\x1b[2J[/b]"
    device = lut.device.model_copy(update={"requested": name})
    lut.model_copy(update={"device": device}).write(folder / "lut.json")
    make_accuracy().write(folder / "accuracy.json")
    return ("--lut", str(folder / "lut.json"), "--accuracy", str(folder / "accuracy.json"))


@pytest.mark.parametrize("more", [["--pareto"], ["--max-latency", "1e-9"], ["--pareto", "--json"]])
def test_a_hostile_name_gives_no_orders(
    tables: tuple[str, ...], more: list[str], programs: Any
) -> None:
    done = programs.run("fofa-search", *tables, *more, env={"GITHUB_ACTIONS": "true"}).check(0, 2)
    said = done.stdout + done.stderr
    assert "stop-commands" in said
    lines = re.split(r"[\r\n]", said)
    assert not [line for line in lines if line.strip().startswith("::")]
    assert not re.search(r"\x1b|##\w*\[", said)


@pytest.mark.parametrize("columns", ["0", "1", "80", "1000000000"])
def test_a_terminal_of_any_width_shows_all(
    tables: tuple[str, ...], columns: str, programs: Any
) -> None:
    done = programs.run("fofa-search", *tables, "--pareto", env={"COLUMNS": columns}).check(0)
    assert "Pareto front" in done.stdout
    assert "exact search of" in done.stdout


def run_search(arguments: tuple[str, ...], redirection: str) -> subprocess.CompletedProcess[str]:
    """A search of a shell with its output elsewhere."""
    program = [sys.executable, "-m", "fofa.commands.search", *arguments, "--pareto"]
    command = ["bash", "-c", f'set -o pipefail; "$@" {redirection}', "bash", *program]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no device that is always full")
def test_output_without_room_is_2(tables: tuple[str, ...]) -> None:
    done = run_search(tables, "> /dev/full")
    assert done.returncode == 2
    said = "fofa-search: cannot write to standard output: No space left on device\n"
    assert done.stderr == said


def test_output_that_nobody_reads_is_no_failed_check(tables: tuple[str, ...]) -> None:
    done = run_search(tables, "| true")
    assert (done.returncode, done.stderr) == (141, "")
