"""The steps of `fofa run`: each is a program, and is skipped where its files are as it left them.

What was done stands in `steps.json`: the arguments of each step, and checksums of what it read and
wrote. A step is done again if any of that is different now, and so is what follows from it.
"""

from __future__ import annotations

import hashlib
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from rich.console import Console

from fofa.accuracy import NonNegative
from fofa.errors import UserError
from fofa.files import FileModel, locked, read_json, write_bytes
from fofa.pipeline.config import Config, Word
from fofa.runs import RECORD_NAME, WEIGHTS_NAME
from fofa.train.stopping import run_child

RECORD = "steps.json"
ACCURACY, LATENCY, NETWORK = "accuracy.json", "latency.json", "network.onnx"
FRONT, WINNER, EXPORTED, PLOT = "front.json", "winner.json", "exported.json", "front.svg"
RUN, PRETRAINED_RUN = "run", "pretrained"
STANDARD_ERROR = 2

Call = Callable[[Sequence[str], Path | None], int]
"""Runs a program of `fofa` with arguments, its output to a file, if one is given; its exit code."""


class Done(BaseModel):
    """A step that was done: what it read and wrote, by path, as SHA-256."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    arguments: list[str]
    inputs: dict[str, str]
    outputs: dict[str, str]
    seconds: NonNegative


class Steps(FileModel):
    """All steps that were done (schema `fofa.steps/1`)."""

    SCHEMA: ClassVar[str] = "fofa.steps"
    VERSION: ClassVar[int] = 1

    done: dict[str, Done]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A program to run.

    Attributes:
        program: its word after `fofa`.
        output: file that its standard output becomes.
    """

    name: str
    program: str
    arguments: tuple[str, ...]
    inputs: tuple[Path, ...] = ()
    outputs: tuple[Path, ...] = ()
    output: Path | None = None

    @property
    def words(self) -> list[str]:
        """The command line after `fofa`."""
        return [self.program, *self.arguments]

    @property
    def written(self) -> tuple[Path, ...]:
        """Every file that it writes."""
        return (*self.outputs, *([self.output] if self.output else []))

    def record(self, seconds: float) -> Done:
        """What is to be remembered of it.

        Raises:
            UserError: if a file is missing.
        """
        return Done(
            arguments=self.words,
            inputs=_checksums(self.inputs),
            outputs=_checksums(self.written),
            seconds=round(seconds, 3),
        )

    def is_done(self, done: Done | None) -> bool:
        """Whether it need not be done again."""
        if done is None:
            return False
        try:
            return self.record(done.seconds) == done
        except UserError:
            return False


def steps(config: Config) -> Iterator[Step]:
    """The steps, in order; each is worked out when those before it are done.

    Raises:
        UserError: if what a step left is not usable.
    """
    out = Path(config.out)
    run, accuracy, latency = out / RUN, out / ACCURACY, out / LATENCY
    weights = (run / RECORD_NAME, run / WEIGHTS_NAME)

    def step(program: Word, *arguments: object, **files: Any) -> Step:
        more = config.options.get(program, [])
        words = (*map(str, arguments), *more)
        fields: dict[str, Any] = {"name": program, "program": program, "arguments": words}
        return Step(**fields | files)

    begin: list[object] = []
    if config.init is not None:
        source = Path(config.init)
        if not (source / RECORD_NAME).is_file():
            source = out / PRETRAINED_RUN
            made = (source / RECORD_NAME, source / WEIGHTS_NAME)
            yield step("import", config.init, "--out", source, outputs=made)
        begin = ["--init", source]
    said = [
        *("--recipe", config.recipe, "--data", config.data, "--out", run, *begin),
        *(("--preset", config.preset) if config.preset is not None else ()),
        *(("--budget", config.budget) if config.budget is not None else ()),
    ]
    yield step("train", *said, outputs=weights)
    yield step("eval", run, "--out", accuracy, inputs=weights, outputs=(accuracy,))
    yield step(
        *("profile", "--device", config.device, "--run", run, "--out", latency),
        inputs=weights[:1],
        outputs=(latency,),
    )
    tables = ("--lut", latency, "--accuracy", accuracy, "--json")
    read = (latency, accuracy)
    front = out / FRONT
    plot = out / PLOT
    yield step(
        *("search", *tables, "--pareto", "--plot", plot),
        name="front",
        inputs=read,
        outputs=(plot,),
        output=front,
    )
    limit = config.max_latency or middle_of(front)
    winner = out / WINNER
    yield step("search", *tables, "--max-latency", limit, inputs=read, output=winner)
    architecture = first_row(winner, "results")["architecture"]
    network = out / NETWORK
    yield step(
        *("export", run, "--architecture", architecture, "--out", network, "--json"),
        inputs=weights,
        outputs=(network,),
        output=out / EXPORTED,
    )


def middle_of(front: Path) -> float:
    """The latency in the middle of a Pareto front that `fofa-search --json` printed, in ms."""
    row = first_row(front, "pareto", middle=True)
    return math.ceil(row["latency_ms"] * 1000) / 1000


def first_row(path: Path, name: str, *, middle: bool = False) -> dict[str, Any]:
    """The first or the middle row of those that `fofa-search --json` printed under `name`.

    Raises:
        UserError: if the file is not what it printed.
    """
    try:
        rows = read_json(path)[name]
        row: dict[str, Any] = dict(rows[len(rows) // 2 if middle else 0])
    except (KeyError, IndexError, TypeError, ValueError):
        raise UserError(f"{path}: not what fofa-search --json prints; remove it") from None
    return row


def carry_out(config: Config, console: Console, call: Call | None = None) -> tuple[int, Steps]:
    """Take the steps that are not done.

    Returns:
        0 when all is done, else the exit code of the step that failed (1 if it was killed); and
        what is done.

    Raises:
        UserError: if another process is at it, or a file that a step left is not usable.
    """
    out = Path(config.out)
    _make(out)
    with locked(out, "another fofa run is at it; wait for it, or choose another out"):
        path = out / RECORD
        done = dict(Steps.read(path).done) if path.exists() else {}
        so_far: dict[str, Done] = {}
        for step in steps(config):
            before = done.get(step.name)
            if before is not None and step.is_done(before):
                console.print(f"{step.name}: done before")
                so_far[step.name] = before
                continue
            console.print(f"{step.name}: fofa {' '.join(step.words)}")
            begun = time.monotonic()
            code = (call or call_program)(step.words, step.output)
            if code != 0:
                why = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
                console.print(f"{step.name} {why}; the same command goes on from there")
                return (1 if code < 0 else code), Steps(done=so_far)
            so_far[step.name] = step.record(time.monotonic() - begun)
            Steps(done=done | so_far).write(path)
        return 0, Steps(done=so_far)


def call_program(words: Sequence[str], output: Path | None) -> int:
    """Run `fofa` with `words` in a process; results go to `output`, or to standard error."""
    command = [sys.executable, "-P", "-m", "fofa.commands", *words]
    if output is None:
        return run_child(command, STANDARD_ERROR)
    with tempfile.TemporaryFile() as file:
        code = run_child(command, file)
        if code == 0:
            file.seek(0)
            write_bytes(output, file.read())
    return code


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot write: {error.strerror or error}") from None


def _checksums(files: Sequence[Path]) -> dict[str, str]:
    found = {}
    for path in files:
        try:
            with path.open("rb") as file:
                found[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    return found
