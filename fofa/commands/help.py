"""The help of every program: options by what they are about, examples, exit codes, the version.

`OPTION_GROUPS` is the vocabulary of all programs: a word means the same wherever it stands, and a
test refuses one that is in no group. Words that some programs have for the same thing are taken by
all (`SYNONYMS`), and a run may be named by place or by `--run`.
"""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from fofa import __version__

EXIT_CODES = (
    "Exit codes: 0 done; 1 a check did not hold, or training cannot go on; 2 wrong input, a "
    "missing requirement or too little memory, said in one line; 130 stopped, and what can be "
    "continued is saved."
)
"""For the help of every command (`epilog`)."""

OPTION_GROUPS = {
    "Input": (
        "--accuracy --accuracy-dir --config --data --download --import --init --lut --luts-dir "
        "--network --predictor --rivals --run --runs --source --val-share"
    ),
    "Networks": (
        "--architecture --architectures --bf16 --calibration --compute-capability --dtype --family "
        "--fixed-batch --float-parts --format --granularity --num --num-classes --precision "
        "--quantise --resolutions --space --weight-bits --width-mult"
    ),
    "Limits": (
        "--constraints --joint --margin --max-energy --max-latency --max-macs --max-memory "
        "--max-params --max-size --pareto --within-error"
    ),
    "Schedule": (
        "--budget --budget-seconds --budgets --crop --epoch-scale --epochs --fresh --learning-rate "
        "--pace --preset --recipe --recipes --seed --seeds --session-gap --sessions "
        "--train-fraction --validate-share"
    ),
    "Images": (
        "--calibration-images --held-out --limit --no-data --quantisation-images --test-images"
    ),
    "Machine": (
        "--batch-size --checkpoint-seconds --checkpoint-steps --compile --device --energy "
        "--one-at-a-time --option --plugin --require-match --threads --workers"
    ),
    "Comparison": (
        "--accuracy-tolerance --check --compare --latency-tolerance --strict --update-baseline "
        "--verify"
    ),
    "Output": (
        "--bundle --devices --dry-run --export --figures --force --json --junit --keep-statistics "
        "--list --out --outcomes --plot --public --summary --tables --tensorboard --top --tracker "
        "--verbose"
    ),
    "Options": "--version --help",
}
"""Headings of a help text, in their order, and the options that stand under each."""
GROUP_OF = {option: heading for heading, text in OPTION_GROUPS.items() for option in text.split()}
VERSION_HELP = ("--version", "Show the version and exit.")
SYNONYMS = {"--precision": "--dtype", "--dtype": "--precision"}
WIDTHS = (40, 80)
"""Least and greatest width of a help text, in columns."""
VALUE = re.compile(r"<(?:list\[)?(\w+)(?: range)?\]?>")
"""What the library calls a value, such as `<list[Path]>` or `<int range>`; its kind."""
WHOLE = 1000
"""Characters that no sentence has."""
KEPT_HYPHEN = "\u2011"
"""Stands for the hyphens of names while lines are broken, which is at hyphens, too."""


def ending(*examples: str, more: str = "") -> str:
    """The end of a help text: command lines to copy, and what the exit codes mean."""
    shown = "".join(f"\n  {example}" for example in examples)
    return f"\b\nExamples:{shown}\n\n{' '.join(filter(None, (EXIT_CODES, _unbroken(more))))}"


def show_version(context: Any, args: Sequence[str]) -> None:
    """Where `--version` was asked for: say it, and exit."""
    if VERSION_HELP[0] in args and "--" not in args:
        print(f"{context.command_path} {__version__}")
        raise typer.Exit


def _in_plain_words(option: str, text: str) -> tuple[str, str]:
    """An option with the kind of its value, and what it is for."""
    plain = VALUE.sub(lambda found: f"<{found[1].lower()}>", option)
    return plain, _unbroken(text)


def _unbroken(text: str) -> str:
    """`text` whose names are in one line each, until `_for_terminal`."""
    return re.sub(r"-(?=\S)", KEPT_HYPHEN, text)


def _write_text(text: str | None, formatter: Any) -> None:
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(_unbroken(inspect.cleandoc(text or "")))


def _for_terminal(help_of: Callable[[Any], str], ctx: Any) -> str:
    """The help text as wide as the terminal, its hyphens what they were."""
    columns = shutil.get_terminal_size().columns
    ctx.terminal_width = min(max(columns, WIDTHS[0]), WIDTHS[1]) - 2
    return help_of(ctx).replace(KEPT_HYPHEN, "-")


class ProgramCommand(TyperCommand):
    """A command with this project's help."""

    def get_help(self, ctx: Any) -> str:
        """As the library's, as wide as the terminal; a name is not broken."""
        return _for_terminal(super().get_help, ctx)

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """What the command does."""
        _write_text(self.help, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then options by what they are about."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        groups |= {heading: [] for heading in OPTION_GROUPS}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                groups[heading_of(param)].append(record)
        groups["Options"].append(VERSION_HELP)
        for heading, records in groups.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(
                        [_in_plain_words(*record) for record in records],
                        col_max=min(30, formatter.width // 2 - 6),
                    )

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the library's, after words that other programs have for the same."""
        show_version(ctx, args)
        return super().parse_args(ctx, self.in_own_words(args))

    def in_own_words(self, args: Sequence[str]) -> list[str]:
        """Options as this command calls them."""
        known = {option for param in self.params for option in param.opts}
        by_place = any(
            param.param_type_name == "argument" and param.name == "run" for param in self.params
        )
        words: list[str] = []
        for place, word in enumerate(args):
            if word == "--":
                return [*words, *args[place:]]
            name, equals, value = word.partition("=")
            if name not in known and SYNONYMS.get(name) in known:
                word = f"{SYNONYMS[name]}{equals}{value}"
            elif name == "--run" and name not in known and by_place:
                if not equals:
                    continue
                word = value
            words.append(word)
        return words


class ProgramGroup(TyperGroup):
    """A program that has several commands."""

    def get_help(self, ctx: Any) -> str:
        """As the library's, as wide as the terminal; a name is not broken."""
        return _for_terminal(super().get_help, ctx)

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """What the command does."""
        _write_text(self.help, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Every command with the whole of its first sentence."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        records = [
            (name, _unbroken(command.get_short_help_str(limit=WHOLE)))
            for name, command in found
            if command is not None and not command.hidden
        ]
        if records:
            with formatter.section("Commands"):
                formatter.write_dl(records)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the library's, after `--version`."""
        show_version(ctx, args[:1])
        return super().parse_args(ctx, args)


class App(typer.Typer):
    """A typer application whose commands have this project's help."""

    def command(self, name: str | None = None, **settings: Any) -> Any:
        """As typer's."""
        settings.setdefault("cls", ProgramCommand)
        return super().command(name, **settings)


def heading_of(param: Any) -> str:
    """The heading that a parameter of a command stands under."""
    if param.param_type_name == "argument":
        return "Arguments"
    return next((GROUP_OF[option] for option in param.opts if option in GROUP_OF), "Options")
