"""What every command line shares: what it writes through, and how it ends.

Exit codes mean the same in all programs (`fofa.commands.help.EXIT_CODES`); 70 beside them is a
fault of ours, with a traceback, and 141 a reader of the output that went away (`| head`), as if by
its signal.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import shutil
import sys
import textwrap
import traceback
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, NoReturn, TextIO, cast

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from fofa.commands.help import App, ProgramGroup
from fofa.commands.start import stoppable, stopped_line
from fofa.errors import UserError
from fofa.plain_text import OutputError, PlainStream, json_text, one_line, plain_lines
from fofa.space import check_resolutions
from fofa.train.stopping import INTERRUPTED

FAULT_OF_OURS, BROKEN_PIPE = 70, 141
"""What sysexits.h calls an internal error, and what a shell says of a program without a reader."""
WIDTHS = range(40, 1001)
"""Columns that tables can be read in; a width of 0 would hide everything."""
LISTS = {
    "--resolutions": re.compile(r"[0-9,]+", re.ASCII),
    "--architectures": re.compile(r"[0-9x+,@-]*@[0-9x+,@-]*", re.ASCII),
}
"""Options that take a list, and what a further item of it looks like."""


def make_app(help_text: str) -> typer.Typer:
    """A typer application with this project's settings."""
    return App(
        help=help_text,
        cls=ProgramGroup,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


class PlainConsole(Console):
    """A console on which names are text: no markup, no control characters, no further lines."""

    def __init__(self, stream: TextIO, *, stderr: bool, soft_wrap: bool = False) -> None:
        below = stream.stream if isinstance(stream, PlainStream) else stream
        super().__init__(
            file=cast(TextIO, PlainStream(below, styled=True)),
            stderr=stderr,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=soft_wrap,
        )
        if self.width not in WIDTHS:
            self.width = min(max(self.width, WIDTHS[0]), WIDTHS[-1])

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's; what is given as a string is a line, which a terminal gets broken at words."""
        whole = options.get("soft_wrap", self.soft_wrap)
        broken = (lambda line: at_words(line, self.file)) if whole else str
        lines = (broken(one_line(o)) if isinstance(o, str) else o for o in objects)
        super().print(*lines, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich's, before the text's width is counted."""
        return super().render_str(plain_lines(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As rich's; only rich itself moves the cursor."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(plain_lines(text), style)


def stderr_console() -> Console:
    """Where progress and warnings go, so that standard output holds results only."""
    return PlainConsole(sys.stderr, stderr=True)


def stdout_console(*, soft_wrap: bool = False) -> Console:
    """Where results go."""
    return PlainConsole(sys.stdout, stderr=False, soft_wrap=soft_wrap)


def at_words(line: str, stream: IO[str]) -> str:
    """`line` broken at words where a person reads it; as it is in files, pipes and logs.

    What is longer than the terminal, such as a path, is left to it, so that it can be copied.
    """
    if not stream.isatty():
        return line
    width = min(max(shutil.get_terminal_size().columns, WIDTHS[0]), WIDTHS[-1])
    return textwrap.fill(
        line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def say(line: str) -> None:
    """Print one line on standard output."""
    print(at_words(one_line(line), sys.stdout))


def say_json(value: Any) -> None:
    """Print `value` on standard output as JSON."""
    print(json_text(value))


def say_to_ci(line: str) -> None:
    """Print a line that a CI system obeys; what comes from files has to be escaped in it."""
    stream = cast(Any, sys.stdout)
    (stream if isinstance(stream, PlainStream) else PlainStream(stream)).order(line)


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


def run_app(app: typer.Typer, name: str, *, hint: str = "") -> NoReturn:
    """Run `app` as the program `name` and exit with its code (`EXIT_CODES`).

    A `UserError`, an operating-system error on a named file, or memory that does not suffice
    becomes one line and exit code 2.

    Args:
        hint: what the line that says that it was stopped goes on with.
    """
    _check_output(name)
    with _plain_streams(), stoppable(name, hint) as was_stopped:
        try:
            code = _exit_code(app, name)
            sys.stdout.flush()
        except OutputError as error:
            if error.reason.errno == errno.EPIPE:
                sys.exit(BROKEN_PIPE)
            _fail(name, str(error))
        except BaseException as error:
            # What a library makes of a lost process is no fault of its own then.
            if not was_stopped() and not isinstance(error, KeyboardInterrupt):
                _end(name, error)
            code = INTERRUPTED
        if code == INTERRUPTED and was_stopped():
            print(at_words(stopped_line(name, hint), sys.stderr), file=sys.stderr)
    sys.exit(code)


def _exit_code(app: typer.Typer, name: str) -> int:
    """Run the command; the code that it or its library of options exits with."""
    try:
        app(args=joined_lists(sys.argv[1:]), prog_name=name)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


def _end(name: str, error: BaseException) -> NoReturn:
    """Exit as an exception says that nobody caught."""
    if isinstance(error, UserError):
        _fail(name, str(error))
    if isinstance(error, OSError) and (error.filename is not None or error.errno is not None):
        place = f"{error.filename}: " if error.filename else ""
        _fail(name, f"{place}{error.strerror or error}")
    if isinstance(error, (MemoryError, RuntimeError)) and _is_out_of_memory(error):
        _fail(name, ": ".join(["not enough memory", *str(error).splitlines()[:1]]))
    traceback.print_exception(error)
    sys.exit(FAULT_OF_OURS)


def _check_output(name: str) -> None:
    """Refuse a closed standard output, whose number the next file that is opened would get.

    A closed standard error is replaced: there is nobody to tell.
    """
    streams: tuple[TextIO | None, ...] = (sys.stdout, sys.stderr)  # None where closed
    if streams[1] is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if streams[0] is None:
        _fail(name, "standard output is closed; send it to /dev/null if it is not wanted")


@contextlib.contextmanager
def _plain_streams() -> Iterator[None]:
    """Everything that is printed goes through a `PlainStream`."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            # Names of files may hold what the terminal's encoding does not.
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = (cast(TextIO, PlainStream(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        try:
            sys.stdout.flush()
        except OSError:
            # The interpreter would try once more at its end, and exit with a code of its own.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Whether Python, numpy or torch (on a CPU or a GPU) found no memory; torch is not imported."""
    torch_says = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or torch_says


def _fail(name: str, message: str) -> NoReturn:
    """Say what is wrong in one line, and exit with code 2."""
    print(at_words(one_line(f"{name}: {message}"), sys.stderr), file=sys.stderr)
    sys.exit(2)
