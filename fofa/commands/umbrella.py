"""`fofa`: every program under one name.

`fofa train ...` is `fofa-train ...`. Programs are found among the installed console scripts called
`fofa-...`, as git finds its own: whoever adds one, adds a word here. Some have no script of their
own (`OWN`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer

from fofa.commands import GOES_ON
from fofa.commands.cli import make_app, run_app
from fofa.commands.help import ProgramCommand, ending
from fofa.commands.start import Program
from fofa.errors import UserError

PREFIX = "fofa-"
OWN = {
    program.name.partition(" ")[2]: program
    for program in (
        Program(
            "fofa init", "fofa.commands.init", "Write fofa.yaml: data, device, budget and limit."
        ),
        Program(
            "fofa run",
            "fofa.commands.run",
            "From data to a checked network in a file, as fofa.yaml says.",
            GOES_ON,
        ),
        Program(
            "fofa predict", "fofa.commands.predict", "Classify images with an exported network."
        ),
        Program("fofa push", "fofa.commands.push", "Put a run on the Hugging Face Hub."),
        Program(
            "fofa completion",
            "fofa.commands.completion",
            "Print what completes options in bash, zsh or fish.",
        ),
    )
}
ORDER = (
    *("init", "run", "import", "train", "eval", "profile", "search", "finetune", "export"),
    *("predict", "predictor"),
)
"""As one needs them; what else there is comes after these, by name."""

app = make_app("From your images and your device to the most accurate network within your latency.")


def programs() -> dict[str, Callable[[], object]]:
    """What can be called, by the word after `fofa`; a console script that is broken is left out."""
    found: dict[str, Callable[[], object]] = dict(OWN)
    for point in entry_points(group="console_scripts"):
        word = point.name.removeprefix(PREFIX)
        if word == point.name or word in found:
            continue
        try:
            found[word] = point.load()
        except Exception:  # somebody else's code; asked for by its own name it says what is wrong
            continue
    known = [word for word in ORDER if word in found]
    return {word: found[word] for word in (*known, *sorted(found.keys() - {*known}))}


def summary_of(program: Callable[[], object]) -> str:
    """One line on a program."""
    if isinstance(program, Program):
        return program.summary
    return ((program.__doc__ or "").strip().splitlines() or [""])[0]


class Overview(ProgramCommand):
    """The help of `fofa`: a list of programs."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Programs, then options."""
        with formatter.section("Programs"):
            formatter.write_dl([(word, summary_of(found)) for word, found in programs().items()])
        super().format_options(ctx, formatter)


@app.command(
    cls=Overview,
    epilog=ending(
        "fofa init --data folder:photos --max-latency 5",
        "fofa run",
        "fofa predict fofa-out/network.onnx tulip.jpg",
        "fofa train --help",
        more="`fofa train` and `fofa-train` are the same program, and so are the others.",
    ),
)
def overview(
    context: typer.Context,
    program: Annotated[str | None, typer.Argument(help="One of these.")] = None,
) -> None:
    """From your images and your device to the most accurate network within your latency."""
    if program is None:
        print(context.get_help())
        return
    words = list(programs())
    near = get_close_matches(program, words, n=1)
    meant = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(words)}"
    raise UserError(f"no program {program!r}; {meant}")


def dispatch(arguments: Sequence[str]) -> bool:
    """Call the program that the first argument names; False if there is none of that name."""
    word = arguments[0] if arguments else ""
    if word in OWN:
        found: Callable[[], object] = OWN[word]
    else:
        points = entry_points(group="console_scripts", name=f"{PREFIX}{word}")
        if not word or not points:
            return False
        found = next(iter(points)).load()
    sys.argv = [f"{PREFIX}{word}", *arguments[1:]]
    found()
    return True


def main() -> None:
    """The program `fofa`."""
    if not dispatch(sys.argv[1:]):
        run_app(app, "fofa")


if __name__ == "__main__":
    main()
