"""`fofa run`: from data to a checked network in a file, as `fofa.yaml` says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fofa.commands import GOES_ON
from fofa.commands.cli import make_app, run_app, say, stderr_console
from fofa.commands.help import ending

app = make_app("From data to a checked network in a file and a report, as fofa.yaml says.")


@app.command(
    epilog=ending(
        "fofa run",
        "fofa run other.yaml",
        more="Stopped at any moment, the same command goes on where it was; steps whose files are "
        "as they left them are not taken again.",
    )
)
def run(
    config: Annotated[Path, typer.Argument(help="What to go by, as fofa init writes it.")] = Path(
        "fofa.yaml"
    ),
) -> None:
    """Train, evaluate, profile, search and export, then write a report."""
    from fofa.pipeline.config import Config
    from fofa.pipeline.report import verdict, write_report
    from fofa.pipeline.steps import carry_out

    wanted = Config.read(config)
    code, steps = carry_out(wanted, stderr_console())
    if code == 0:
        report = write_report(wanted, steps)
        say(verdict(wanted))
        say(f"report: {report}")
    raise typer.Exit(code)


def main() -> None:
    """The program `fofa run`."""
    run_app(app, "fofa run", hint=GOES_ON)


if __name__ == "__main__":
    main()
