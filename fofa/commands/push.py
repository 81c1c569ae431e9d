"""`fofa push`: put a run on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fofa.commands.cli import make_app, run_app, stdout_console
from fofa.commands.help import ending
from fofa.hub import repository_of, upload_run
from fofa.runs import Run

app = make_app("Put a run on the Hugging Face Hub, from where every program opens it.")


@app.command(
    epilog=ending(
        "fofa push runs/mine hf:user/mine",
        "fofa-search --lut cpu.json --accuracy mine.json --max-latency 5 --run hf:user/mine",
    )
)
def push(
    run: Annotated[Path, typer.Argument(help="Run folder, made by fofa-train or fofa-import.")],
    name: Annotated[str, typer.Argument(help="Where to: hf:user/name.")],
    public: Annotated[
        bool, typer.Option("--public", help="A new repository is one that everybody can see.")
    ] = False,
) -> None:
    """Put a run's record, weights and kept statistics on the Hugging Face Hub."""
    repository_of(name)
    folder = Run.open(run).folder
    place = upload_run(folder, name, private=not public)
    stdout_console(soft_wrap=True).print(f"{run}: now at {place}, and as {name}")


def main() -> None:
    """The program `fofa push`."""
    run_app(app, "fofa push")


if __name__ == "__main__":
    main()
