"""What every command line shares: the console, and how errors end a program.

Exit codes: 0 done, 1 a check did not hold, 2 bad input or a missing requirement (one line on
standard error), 130 interrupted.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from rich.console import Console

from fofa.errors import UserError
from fofa.space import check_resolutions

LISTS = {
    "--resolutions": re.compile(r"[0-9,]+", re.ASCII),
    "--architectures": re.compile(r"[0-9x+,@-]*@[0-9x+,@-]*", re.ASCII),
}
"""Options that take a list, and what a further item of it looks like."""


def make_app(help_text: str) -> typer.Typer:
    """A typer application with this project's settings."""
    return typer.Typer(
        help=help_text,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def stderr_console() -> Console:
    """Where progress and warnings go, so that standard output holds results only.

    Brackets in what is printed are text, never markup: names of files and devices hold them.
    """
    return Console(stderr=True, highlight=False, markup=False)


def stdout_console(*, soft_wrap: bool = False) -> Console:
    """Where results go. Brackets in a name are no markup here either."""
    return Console(highlight=False, markup=False, soft_wrap=soft_wrap)


def joined_lists(arguments: Sequence[str]) -> list[str]:
    """`--resolutions 128 160` as `--resolutions 128,160`: lists may be written with spaces, too."""
    joined: list[str] = []
    item: re.Pattern[str] | None = None
    for argument in arguments:
        if item is not None and item.fullmatch(argument) and joined[-1] not in LISTS:
            joined[-1] += f",{argument}"
            continue
        if not (joined and joined[-1] in LISTS):
            item = LISTS.get(argument)
        joined.append(argument)
    return joined


def parse_resolutions(text: str | None) -> tuple[int, ...] | None:
    """The value of `--resolutions`, such as `128,160`, in ascending order; None where not given.

    Raises:
        UserError: if one is no number, out of range or there twice.
    """
    if text is None:
        return None
    parts = re.split(r"[,\s]+", text.strip(", "))
    if not all(re.fullmatch(r"[0-9]{1,5}", part, re.ASCII) for part in parts):
        raise UserError(f"--resolutions {text!r}: expected sizes in pixels, such as 128,160")
    return check_resolutions([int(part) for part in parts])


def run_app(app: typer.Typer, name: str, **options: Any) -> NoReturn:
    """Run `app` as the program `name` and exit with its code.

    A `UserError`, an operating-system error on a named file, or memory that does not suffice
    becomes one line and exit code 2.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names of files may hold what the terminal's encoding does not.
            stream.reconfigure(errors="backslashreplace")
    try:
        app(args=joined_lists(sys.argv[1:]), prog_name=name, **options)
    except UserError as error:
        _fail(name, str(error))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        place = f"{error.filename}: " if error.filename else ""
        _fail(name, f"{place}{error.strerror or error}")
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        _fail(name, ": ".join(["not enough memory", *str(error).splitlines()[:1]]))
    sys.exit(0)


def _is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Whether Python, numpy or torch (on a CPU or a GPU) found no memory; torch is not imported."""
    torch_says = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or torch_says


def _fail(name: str, message: str) -> NoReturn:
    print(f"{name}: {message}", file=sys.stderr)
    sys.exit(2)
