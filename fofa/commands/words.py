"""What there is to complete: the options of every program, and the words that they take."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import typer

from fofa.commands.help import VERSION_HELP
from fofa.commands.start import Program
from fofa.commands.umbrella import programs
from fofa.families import FAMILIES
from fofa.precision import Precision
from fofa.presets import PRESETS
from fofa.recipes import RECIPES

VALUES: dict[str, tuple[str, ...]] = {
    "--calibration": ("minmax", "percentile"),
    "--compare": ("budget", "epochs"),
    "--crop": ("pad", "resized", "mild"),
    "--device": ("auto", "cpu", "cuda"),
    "--dtype": (*get_args(Precision), "any"),
    "--family": tuple(FAMILIES),
    "--format": ("onnx", "torch", "openvino", "mnn", "tensorrt", "timm"),
    "--granularity": ("channel", "tensor"),
    "--precision": ("auto", "fp32", "bf16"),
    "--preset": tuple(PRESETS),
    "--recipe": tuple(RECIPES),
    "--space": ("compound", "elastic"),
    "--tracker": ("mlflow", "wandb"),
    "shell": ("bash", "zsh", "fish"),
}
"""The words that options (and arguments, by name) know. A program takes those that its help has."""
FILES_TOO = ("--family",)
"""Options whose value is one of the words, or else a file."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option, or an argument.

    Attributes:
        line: what it is about.
        takes: what follows it. Text may be the name of a file.
        values: all the words that it takes, where they are known.
        files_too: a file may follow instead of one of the words.
    """

    line: str
    takes: Literal["nothing", "number", "text"] = "nothing"
    values: tuple[str, ...] = ()
    files_too: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its options by name, and its first argument if it has any."""

    options: dict[str, Option]
    argument: Option | None = None


Words = dict[str, Command]
"""By the words that call a command: `search`, `predictor train`."""

OWN_OPTIONS = {
    "--help": Option("Show this message and exit"),
    VERSION_HELP[0]: Option(VERSION_HELP[1].rstrip(".")),
}
"""What every program has."""


def all_words() -> Words:
    """Every program that is installed, commands inside a program before itself.

    So they are told apart: of two patterns that match, a shell takes the first.
    """
    found: Words = {}
    for word, program in programs().items():
        found[word] = Command(OWN_OPTIONS)
        if isinstance(program, Program):
            app = typer.main.get_command(importlib.import_module(program.module).app)
            for inner, command in _commands(app):
                found[f"{word} {inner}".strip()] = command
    return dict(sorted(found.items(), key=lambda item: " " not in item[0]))


def _commands(command: Any) -> Iterator[tuple[str, Command]]:
    """A program under an empty name, and each command inside it."""
    options, argument, context = dict(OWN_OPTIONS), None, typer.Context(command)
    for param in command.params:
        option = _option(param, context)
        if param.param_type_name == "option":
            options |= dict.fromkeys((*param.opts, *param.secondary_opts), option)
        else:
            argument = argument or option
    yield "", Command(options, argument)
    for name, inner in getattr(command, "commands", {}).items():
        for _, found in _commands(inner):
            yield name, found


def _option(param: Any, context: typer.Context) -> Option:
    """A parameter of a command; what it takes is what its help says."""
    said = " ".join((param.help or "").split())
    names = {*param.opts, param.name}
    known = [value for name in VALUES if name in names for value in VALUES[name]]
    shown, _ = param.get_help_record(context) or ("", "")
    takes: Literal["nothing", "number", "text"] = "text"
    if getattr(param, "is_flag", False):
        takes = "nothing"
    elif re.search(r"\b(int|integer|float)\b", shown.lower()):
        takes = "number"
    return Option(
        said.partition(". ")[0].rstrip("."),
        takes,
        tuple(value for value in known if re.search(rf"(?<![\w-]){value}(?![\w-])", said)),
        bool(names & {*FILES_TOO}),
    )
