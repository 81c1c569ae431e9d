"""`fofa-train`: train a supernet, or go on with a run that was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fofa.commands.cli import (
    make_app,
    parse_resolutions,
    run_app,
    stderr_console,
)
from fofa.commands.help import ending
from fofa.families import find_family
from fofa.recipes import RECIPES
from fofa.train.settings import RunOptions
from fofa.train.tracking import check_trackers

app = make_app("Train a supernet. Running the same command again resumes a run that was stopped.")

DEFAULTS = RunOptions()
EPILOG = ending(
    "fofa-train --out runs/shapes",
    "fofa-train --data folder:photos --init runs/lite0 --out runs/photos",
    "fofa-train --recipe smallest-first --preset cifar10-small --download --out runs/cifar10",
    "torchrun --nproc-per-node 8 --no-python fofa-train --recipe fofa-n3 --preset imagenet "
    "--data imagenet:DIR --out runs/imagenet",
    more="Training cannot go on when it diverged or another process of the job was lost: the last "
    "checkpoint is good. Under torchrun every process takes --batch-size images; with torchrun's "
    "--max-restarts the job goes on from the last checkpoint when a process dies.",
)


@app.command(epilog=EPILOG)
def train(
    out: Annotated[Path, typer.Option(help="Run folder, made if need be.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            help=f"One of {', '.join(RECIPES)}; by default the preset's, which is fofa-n3."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="imagenet, cifar10, cifar10-small, shapes or folder: defaults of the options "
            "below. By default folder for a folder of one's own, else shapes."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="shapes, cifar10:DIR, folder:DIR, imagenet:DIR or wds:TRAIN,VAL; by default the "
            "preset's."
        ),
    ] = None,
    val_share: Annotated[
        float | None,
        typer.Option(help="Share to hold out of a folder without train/ and val/; 0.2 by default."),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            help="Kind of network: mobilenetv3 (the default), proxyless, efficientnet-lite0, or a "
            "YAML file; with --init, that run's."
        ),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            help="Run folder to begin from, of fofa-train or fofa-import: its weights, a new head "
            "where the classes differ, another learning rate."
        ),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch CIFAR-10 if it is not there.")
    ] = False,
    epoch_scale: Annotated[
        float | None,
        typer.Option(max=1000, help="Factor on all epochs of the recipe, such as 0.1."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            help="Core-hours (on a GPU: GPU-hours) that training may cost, such as 0.4: the "
            "recipe's epochs are scaled to it on this machine."
        ),
    ] = None,
    pace: Annotated[
        Path | None,
        typer.Option(
            help="Accuracy table of the same recipe and preset: --budget is of hours at the pace "
            "of its training, so that runs on different machines have the same steps."
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="The highest one for 256 images a step, such as 0.3; by default the recipe's; "
            "with --init 0.5 from a published network and 0.2 from another run."
        ),
    ] = None,
    train_fraction: Annotated[
        float | None, typer.Option(help="Share of the training images to use, 0 to 1.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Images of a step in each process; the learning rate follows."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    width_mult: Annotated[
        float | None, typer.Option(help="Width multiplier of the network.")
    ] = None,
    resolutions: Annotated[
        str | None, typer.Option(help="Image sizes in pixels, such as 128,160,192,224.")
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option(
            help="Augmentation: pad (shifted; of data kept in memory), resized (a part of at least "
            "8% of an image) or mild (of at least 35%)."
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="auto (bf16 where the GPU has it), fp32 or bf16.")
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<number>.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Threads of each process on a CPU.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that decode image files; 8 at most by default."),
    ] = None,
    one_at_a_time: Annotated[
        bool,
        typer.Option("--one-at-a-time", help="One subnet after the other: slower, less memory."),
    ] = False,
    compile_blocks: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Let torch compile the blocks, each kind when it is first met, which takes "
            "minutes; not measured on a GPU yet.",
        ),
    ] = False,
    checkpoint_seconds: Annotated[
        float, typer.Option(min=0, help="Save at least this often; 0 for every step.")
    ] = DEFAULTS.checkpoint_seconds,
    checkpoint_steps: Annotated[
        int | None, typer.Option(min=1, help="Save every so many steps, too.")
    ] = None,
    tensorboard: Annotated[bool, typer.Option(help="Write files for TensorBoard.")] = True,
    tracker: Annotated[
        list[str] | None,
        typer.Option(
            help="Write for this, too: mlflow or wandb (offline, in --out); may be repeated."
        ),
    ] = None,
    validate_share: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of the time to show the largest and the smallest subnet held-out images; "
            "0 for never.",
        ),
    ] = DEFAULTS.validate_share,
) -> None:
    """Train a supernet with a recipe, in the setting of a preset."""
    import torch

    from fofa.data import with_val_share
    from fofa.distributed import find_place
    from fofa.presets import choose_preset
    from fofa.train.choices import choose_settings, fitted_preset, read_pace
    from fofa.train.launch import launch

    processes, spec = find_place(device), with_val_share(data, val_share)
    if threads is not None:
        torch.set_num_threads(threads)
    setting = fitted_preset(
        choose_preset(preset, spec), processes, spec, out, pretrained=init is not None
    )
    settings = choose_settings(
        setting,
        processes,
        {
            "recipe": recipe,
            "family": None if family is None else find_family(family),
            "init": init,
            "data": spec,
            "epoch_scale": epoch_scale,
            "budget_hours": budget,
            "pace": None if pace is None else read_pace(pace),
            "learning_rate": learning_rate,
            "train_fraction": train_fraction,
            "batch_size": batch_size,
            "seed": seed,
            "width_mult": width_mult,
            "resolutions": parse_resolutions(resolutions),
            "crop": crop,
            "precision": precision,
        },
    )
    options = RunOptions(
        download=download,
        workers=workers,
        one_at_a_time=one_at_a_time,
        compile_blocks=compile_blocks,
        checkpoint_seconds=checkpoint_seconds,
        checkpoint_steps=checkpoint_steps,
        trackers=check_trackers([*(["tensorboard"] if tensorboard else []), *(tracker or [])]),
        validate_share=validate_share,
    )
    console = stderr_console()
    if recipe is None and processes.is_main:
        console.print(
            f"recipe {settings.recipe}, as the preset {setting.name} has it; "
            "--recipe names another",
            soft_wrap=True,
        )
    raise typer.Exit(launch(settings, options, out, processes, console, setting.proxy))


def main() -> None:
    """The program `fofa-train`."""
    run_app(app, "fofa-train")


if __name__ == "__main__":
    main()
