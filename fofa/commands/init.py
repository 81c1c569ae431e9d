"""`fofa init`: write `fofa.yaml`, what `fofa run` goes by; it asks nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fofa.commands.cli import make_app, run_app, say
from fofa.commands.help import ending
from fofa.errors import UserError
from fofa.files import write_text

app = make_app("Write fofa.yaml, what fofa run goes by; it asks nothing.")


@app.command(
    epilog=ending("fofa init", "fofa init --data folder:photos --device cpu --max-latency 5")
)
def init(
    data: Annotated[
        str | None,
        typer.Option(
            help="Images: shapes, folder:DIR, cifar10:DIR, imagenet:DIR or wds:TRAIN,VAL; by "
            "default a folder with class folders that is here, else shapes."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--init",
            help="Weights to begin from, as fofa-import takes them, or a run folder; by default "
            "efficientnet-lite0 for a folder of images where its package is installed.",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device to measure, as fofa-profile names it; cpu.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Core-hours of training; by default the preset's.")
    ] = None,
    max_latency: Annotated[
        float | None,
        typer.Option(help="Limit in ms; by default the middle of what is possible."),
    ] = None,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("fofa.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write what `fofa run` goes by."""
    from pydantic import ValidationError

    from fofa.files import explain
    from fofa.pipeline.config import Config, suggested

    if out.exists() and not force:
        raise UserError(f"{out}: is there already; --force replaces it")
    given = {
        "data": data,
        "init": weights,
        "device": device,
        "budget": budget,
        "max_latency": max_latency,
    }
    found = suggested(Path.cwd()) if data is None else Config()
    fields = found.model_dump() | {
        name: value for name, value in given.items() if value is not None
    }
    try:
        config = Config.model_validate(fields)
    except ValidationError as error:
        raise UserError(explain(error)) from None
    write_text(out, config.to_yaml())
    say(f"{out}: {config.data} on {config.device}; fofa run does the rest")


def main() -> None:
    """The program `fofa init`."""
    run_app(app, "fofa init")


if __name__ == "__main__":
    main()
