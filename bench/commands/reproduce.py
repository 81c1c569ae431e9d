"""`fofa-reproduce`: train and evaluate every recipe, write the accuracy tables and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fofa.commands import GOES_ON
from fofa.commands.cli import make_app, run_app, stderr_console
from fofa.commands.help import ending
from fofa.errors import UserError

app = make_app("Train and evaluate every recipe, and write the accuracy tables and the report.")


@app.command(
    epilog=ending(
        "fofa-reproduce --preset shapes --recipes fofa-n3,compofa --dry-run",
        "fofa-reproduce --preset cifar10-small --download",
    )
)
def reproduce(
    context: typer.Context,
    preset: Annotated[
        str, typer.Option(help="Setting to train in: cifar10, cifar10-small, shapes or imagenet.")
    ],
    recipes: Annotated[
        str | None,
        typer.Option(help="Recipes, such as fofa-n3,compofa; by default all."),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds to train each recipe with, such as 0,1.")] = "0",
    budgets: Annotated[
        str | None,
        typer.Option(
            help="Core-hours (on a GPU: GPU-hours) to train every recipe for, such as 0.1,0.2,0.4; "
            "by default as long as the epochs say."
        ),
    ] = None,
    pace: Annotated[
        Path | None,
        typer.Option(
            help="Folder of accuracy tables, such as reports/accuracy: --budgets are of hours at "
            "the pace of their trainings, so that this machine takes the same steps."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Data, such as cifar10:DIR; by default the preset's.")
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch CIFAR-10 if it is not there.")
    ] = False,
    epoch_scale: Annotated[
        float | None,
        typer.Option(help="Factor on the epochs of every recipe; by default the preset's."),
    ] = None,
    train_fraction: Annotated[
        float | None, typer.Option(help="Share of the training images; by default the preset's.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images of a step; by default the preset's.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Evaluate on so many of the test images; by default on all."),
    ] = None,
    calibration_images: Annotated[
        int | None,
        typer.Option(min=1, help="Training images that recalibrate BatchNorm; by default 2000."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<number>.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of training on a CPU.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder for the run folders (weights).")] = Path(
        "runs"
    ),
    out: Annotated[
        Path, typer.Option(help="Folder for the report; accuracy tables go to accuracy/ in it.")
    ] = Path("reports"),
    luts_dir: Annotated[Path, typer.Option(help="Folder of latency tables.")] = Path("luts"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what is done and what remains.")
    ] = False,
) -> None:
    """Train and evaluate every recipe, and write the accuracy tables and the report.

    May be stopped at any time: the same command goes on where it was. A step whose product is whole
    and was made with the same settings is not done again.
    """
    from bench.reproduce.carry_out import carry_out, show_progress
    from bench.reproduce.plan import (
        EvaluateOptions,
        Study,
        TrainOptions,
        checked_preset,
        parse_budgets,
        parse_recipes,
        parse_seeds,
        read_paces,
    )

    if budgets is not None and epoch_scale is not None:
        raise UserError("--budgets and --epoch-scale exclude each other: both set the length")
    if pace is not None and budgets is None:
        raise UserError("--pace needs --budgets: how many hours at that pace")
    study = Study(
        preset=checked_preset(preset, data),
        recipes=parse_recipes(recipes),
        seeds=parse_seeds(seeds),
        budgets=parse_budgets(budgets),
        paces=() if pace is None else read_paces(pace),
        runs=runs,
        out=out,
        train=TrainOptions.model_validate(context.params),
        evaluate=EvaluateOptions.model_validate(context.params),
    )
    console = stderr_console()
    if dry_run:
        show_progress(list(study.jobs()), console)
        return
    raise typer.Exit(carry_out(study, luts_dir=luts_dir, console=console))


def main() -> None:
    """The program `fofa-reproduce`."""
    run_app(app, "fofa-reproduce", hint=GOES_ON)


if __name__ == "__main__":
    main()
