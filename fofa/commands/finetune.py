"""`fofa-finetune`: train the chosen network of a run a little more, by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fofa.commands.cli import make_app, run_app, stderr_console
from fofa.commands.help import ending
from fofa.errors import UserError
from fofa.train.settings import RunOptions
from fofa.train.tracking import check_trackers

app = make_app(
    "Train the chosen network of a run a little more, alone, with the largest as its teacher."
)
DEFAULTS = RunOptions()


@app.command(
    epilog=ending(
        "fofa-finetune runs/mine --architecture 23432@160 --epochs 5 --out runs/chosen",
    )
)
def finetune(
    run: Annotated[Path, typer.Argument(help="Run folder, made by fofa-train or fofa-import.")],
    architecture: Annotated[
        str, typer.Option(help="The network, such as 23432@160, as fofa-search names it.")
    ],
    out: Annotated[Path, typer.Option(help="Run folder to make, for fofa-export and fofa-eval.")],
    epochs: Annotated[
        float | None, typer.Option(max=1000, help="Passes over the training images; 5 by default.")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(help="Core-hours (on a GPU: GPU-hours) that it may cost, in place of epochs."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Data with the run's classes; the run's own by default.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images of a step in each process; the run's by default.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="The highest one for 256 images a step; 0.02 by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<number>.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Threads of each process on a CPU.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that decode image files; 8 at most by default."),
    ] = None,
    checkpoint_seconds: Annotated[
        float, typer.Option(min=0, help="Save at least this often; 0 for every step.")
    ] = DEFAULTS.checkpoint_seconds,
    tensorboard: Annotated[bool, typer.Option(help="Write files for TensorBoard.")] = True,
    tracker: Annotated[
        list[str] | None,
        typer.Option(
            help="Write for this, too: mlflow or wandb (offline, in --out); may be repeated."
        ),
    ] = None,
    validate_share: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the time to show it held-out images; 0: never."),
    ] = DEFAULTS.validate_share,
) -> None:
    """Train one network of a run by itself for a little, from labels and from the largest.

    Running the same command again goes on with what was stopped.
    """
    if epochs is not None and budget is not None:
        raise UserError("--epochs and --budget exclude each other: both set the length")
    if out.resolve() == run.resolve():
        raise UserError(f"--out {out}: is the run itself; name another folder")

    import torch

    from fofa.distributed import find_place
    from fofa.runs import Run
    from fofa.space import parse_architecture
    from fofa.train.finetune import finetune_settings
    from fofa.train.launch import launch

    opened, processes = Run.open(run), find_place(device)
    if threads is not None:
        torch.set_num_threads(threads)
    chosen = {
        "epoch_scale": epochs if budget is not None or epochs is not None else 5.0,
        "budget_hours": budget,
        "data": data,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    named = parse_architecture(architecture, opened.record.supernet.family)
    settings = finetune_settings(opened, named, processes, chosen)
    options = RunOptions(
        workers=workers,
        checkpoint_seconds=checkpoint_seconds,
        trackers=check_trackers([*(["tensorboard"] if tensorboard else []), *(tracker or [])]),
        validate_share=validate_share,
    )
    proxy = opened.record.proxy
    raise typer.Exit(launch(settings, options, out, processes, stderr_console(), proxy))


def main() -> None:
    """The program `fofa-finetune`."""
    run_app(app, "fofa-finetune")


if __name__ == "__main__":
    main()
