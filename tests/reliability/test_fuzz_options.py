"""Every option of every program with hostile values: done, or refused in one line; no traceback.

The options are read from the programs themselves, so that a new one is tested because it is there.
"""

from __future__ import annotations

import inspect
import random
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from console_scripts import SCRIPTS, module_of

from fofa.runs import RECORD_NAME, WEIGHTS_NAME, Run, RunRecord
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.supernet.weights import save_weights

PREDICTOR = ("fofa-predictor sample", "fofa-predictor train", "fofa-predictor check")
COMMANDS = sorted({*SCRIPTS, *PREDICTOR} - {"fofa-predictor"})
"""Programs; those with several commands by each of them."""
ENDLESS_SECONDS = 10.0
ENDLESS = ("--epoch-scale", "--epochs", "--budget", "--budget-seconds", "--compile")
"""A program that was given, say, 1e308 epochs or minutes of compiling is at work: no fault; others
end by themselves."""

NUMBERS = ("0", "-1", "1e308", "1e-308", "nan", "inf", "-inf", "99999999999999999999", "0x10", "٣")
TEXTS = (
    "",
    " ",
    ",",
    "x",
    "-",
    "--",
    "../..",
    "é\n",
    "a=b",
    "=",
    "%s{0}",
    "1,2,,3",
    "24,24",
    "@16",
)
PATHS = (
    "",
    ".",
    "/proc",
    "/dev/null",
    "/dev/null/x",
    "no/such/file",
    "x" * 300,
    "two\nlines",
    "\udce4",
)
VALUES = {"number": NUMBERS, "text": (*TEXTS, *NUMBERS), "path": (*PATHS, "--help", "-1")}
FEW = 1
LONG = ("fofa-finetune", "fofa-profile", "fofa-train")
"""Ten seconds to half a minute each even with few values."""


@dataclass(frozen=True, slots=True)
class Line:
    """A command line that works: arguments, and options with their values (None for flags)."""

    arguments: tuple[str, ...]
    options: dict[str, str | None]

    def words(self, changes: dict[str, str | None] | None = None) -> list[str]:
        """The command line, with some options set or replaced."""
        words = list(self.arguments)
        for option, value in (self.options | (changes or {})).items():
            words += [option] if value is None else [option, value]
        return words


@pytest.fixture(scope="module")
def lines(
    programs: Any,
    tiny_run: Path,
    tiny_tables: Path,
    foreign_checkpoint: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Line]:
    """For each program a command line that works and takes a moment."""
    run = str(tiny_run)
    lut, accuracy = (str(tiny_tables / name) for name in ("luts/steady.json", "accuracy/tiny.json"))
    few = {"--calibration-images": "5", "--batch-size": "5"}
    folder = tmp_path_factory.mktemp("lines")
    elastic = elastic_run(Run.open(tiny_run).record, folder / "elastic")
    predictor = folder / "predictor.safetensors"
    programs.run("fofa-predictor", "train", accuracy, "--out", predictor, "--epochs", 2).check(0)
    return {
        "fofa": Line(("completion", "bash"), {}),
        "fofa-train": Line(
            (),
            {
                "--recipe": "fofa-n3",
                "--out": "out",
                "--epoch-scale": "0.001",
                "--width-mult": "0.25",
                "--resolutions": "16",
                "--batch-size": "4",
                "--device": "cpu",
                "--no-tensorboard": None,
            },
        ),
        "fofa-eval": Line(
            (run,),
            {"--out": "out.json", "--architectures": "22222@16", "--limit": "5", **few},
        ),
        "fofa-search": Line((), {"--lut": lut, "--accuracy": accuracy, "--max-latency": "100"}),
        "fofa-export": Line(
            (run,),
            {"--out": "out.onnx", "--architecture": "22222@16", "--test-images": "5", **few},
        ),
        "fofa-import": Line((str(foreign_checkpoint),), {"--out": "out"}),
        "fofa-finetune": Line(
            (run,),
            {
                "--architecture": "22222@16",
                "--out": "out",
                "--epochs": "0.01",
                "--batch-size": "4",
                "--no-tensorboard": None,
            },
        ),
        "fofa-profile": Line(
            (),
            {
                "--device": "steady",
                "--out": "out.json",
                "--resolutions": "16",
                "--width-mult": "0.25",
                "--num-classes": "10",
                "--budget-seconds": "0.1",
                "--sessions": "1",
                "--session-gap": "0",
            },
        ),
        "fofa-bench": Line(
            (),
            {
                "--lut": lut,
                "--accuracy": accuracy,
                "--tables": "2",
                "--figures": "none",
                "--luts-dir": "none",
                "--accuracy-dir": "none",
                "--out": "out",
            },
        ),
        "fofa-reproduce": Line((), {"--preset": "shapes", "--dry-run": None}),
        "fofa-predictor sample": Line((str(elastic),), {"--num": "3"}),
        "fofa-predictor train": Line((accuracy,), {"--out": "out.safetensors", "--epochs": "2"}),
        "fofa-predictor check": Line((str(predictor), accuracy), {}),
    }


def elastic_run(record: RunRecord, folder: Path) -> Path:
    """An untrained run of the elastic space."""
    config = SupernetConfig(
        kind="elastic", width_mult=0.1, max_kernels=(7,) * 5, kernel_mode="centre", num_classes=10
    )
    record.model_copy(update={"supernet": config}).write(folder / RECORD_NAME)
    save_weights(Supernet(config), folder / WEIGHTS_NAME)
    return folder


@dataclass(frozen=True, slots=True)
class Option:
    """An option as a program declares it; `kind` is None for a flag."""

    words: tuple[str, ...]
    kind: str | None


def options_of(name: str) -> list[Option]:
    """The options of a program's command."""
    program, _, subcommand = name.partition(" ")
    command: Any = typer.main.get_command(module_of(program).app)
    if subcommand:
        command = command.commands[subcommand]
    hints = typing.get_type_hints(inspect.unwrap(command.callback))
    found = []
    for option in command.params:
        if option.param_type_name == "option" and option.name in hints:
            words = (*option.opts, *option.secondary_opts)
            found.append(Option(words, None if option.is_flag else kind_of(hints[option.name])))
    return found


def kind_of(hint: Any) -> str:
    """Which hostile values an option of this type gets."""
    types = {hint, *typing.get_args(hint)}
    types |= {inner for one in types for inner in typing.get_args(one)}
    return "number" if types & {int, float} else "path" if Path in types else "text"


def cases(name: str, count: int | None) -> list[tuple[str, str | None]]:
    """Options with hostile values: all of them, or `count` for each option, other ones each."""
    found: list[tuple[str, str | None]] = []
    for option in options_of(name):
        if option.kind is None:
            found += [(word, None) for word in option.words]
            continue
        values: Sequence[str] = VALUES[option.kind]
        if count is not None:
            values = random.Random(f"{name}{option.words}").sample(values, count)
        found += [(option.words[0], value) for value in values]
    return found


def test_the_options_are_found() -> None:
    found = {word: option.kind for option in options_of("fofa-search") for word in option.words}
    assert found["--lut"] == "path"
    assert found["--max-latency"] == "number"
    assert found["--resolutions"] == "text"
    assert found["--json"] is None


def test_every_program_has_its_line(lines: dict[str, Line]) -> None:
    assert sorted(lines) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_the_lines_work(name: str, lines: dict[str, Line], programs: Any, tmp_path: Path) -> None:
    programs.run(*name.split(), *lines[name].words(), cwd=tmp_path).check(0)


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(FEW, id="few"),
        pytest.param(None, id="all", marks=(pytest.mark.slow, pytest.mark.timeout(3600))),
    ],
)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in COMMANDS]
)
def test_hostile_values_are_taken_or_refused_in_one_line(
    name: str, count: int | None, lines: dict[str, Line], programs: Any, tmp_path: Path
) -> None:
    faults = []
    for number, (option, value) in enumerate(cases(name, count)):
        place = tmp_path / str(number)
        place.mkdir()
        words = lines[name].words({option: value})
        program = programs.start(*name.split(), *words, cwd=place)
        if option in ENDLESS and program.wait_until(lambda: False, ENDLESS_SECONDS) is None:
            ended = program.kill()
            if "Traceback" in ended.stderr:
                faults.append(f"{option} {value!r}: {ended.stderr.strip()[-300:]}")
            continue
        ended = program.wait()
        try:
            # 1 where the option is a check that may not hold on a busy machine.
            ended.check(0, 1, 2) if option == "--strict" else ended.check(0, 2)
            if ended.code == 2:
                ended.complaint()
        except AssertionError:
            faults.append(f"{option} {value!r}: code {ended.code}: {ended.stderr.strip()[-300:]}")
    assert not faults, "\n".join(faults)
