"""`fofa-import`: a checkpoint of OFA or CompOFA becomes a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fofa.commands.cli import make_app, run_app
from fofa.errors import UserError
from fofa.space import DEFAULT_RESOLUTIONS

app = make_app("Turn a checkpoint of OFA or CompOFA (MobileNetV3) into a run.")


@app.command()
def import_checkpoint(
    checkpoint: Annotated[
        Path, typer.Argument(help="File with the checkpoint's `state_dict`, as torch saved it.")
    ],
    out: Annotated[Path, typer.Option(help="Run folder to make.")],
    data: Annotated[
        str, typer.Option(help="Data set that the run is evaluated on unless told otherwise.")
    ] = "imagenet:data/imagenet",
) -> None:
    """Read a checkpoint safely (tensors only) and write a run folder.

    The run is taken by fofa-eval, fofa-search and fofa-export. Images are normalised as for
    ImageNet; classes are called by their numbers.
    """
    from fofa.accuracy import TrainingRecord
    from fofa.data.source import IMAGENET_MEAN, IMAGENET_STD
    from fofa.runs import RECORD_NAME, WEIGHTS_NAME, RunRecord
    from fofa.supernet.foreign import import_supernet
    from fofa.supernet.weights import save_weights

    if (out / RECORD_NAME).exists():
        raise UserError(f"{out}: holds a run already; choose another folder")
    supernet = import_supernet(checkpoint)
    config = supernet.config
    record = RunRecord(
        recipe={"transform": "ofa", "centre": "compofa", "fixed": "imported"}[config.kernel_mode],
        preset=None,
        dataset=data.partition(":")[0],
        data_spec=data,
        class_names=[str(number) for number in range(config.num_classes)],
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        supernet=config,
        resolutions=list(DEFAULT_RESOLUTIONS),
        training=TrainingRecord(
            epochs=0, gpu_hours=0, device="unknown (imported)", images_per_second=0, seed=0
        ),
        status="imported",
        step=0,
    )
    save_weights(supernet, out / WEIGHTS_NAME)
    record.write(out / RECORD_NAME)
    print(
        f"{out}: {config.kind} supernet, width {config.width_mult:g}, {config.num_classes} "
        f"classes, kernels {'-'.join(map(str, config.max_kernels))} ({config.kernel_mode})"
    )


def main() -> None:
    """Entry point of `fofa-import`."""
    run_app(app, "fofa-import")


if __name__ == "__main__":
    main()
