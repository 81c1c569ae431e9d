"""`fofa-import`: published weights become a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fofa.commands.cli import make_app, run_app, say
from fofa.commands.help import ending
from fofa.errors import UserError
from fofa.space import DEFAULT_RESOLUTIONS, EFFICIENTNET_LITE0, Architecture

if TYPE_CHECKING:  # which loads torch
    from fofa.runs import RunRecord
    from fofa.supernet.model import Supernet

app = make_app(
    "Turn published weights into a run: efficientnet-lite0, or a checkpoint of OFA or CompOFA."
)


@app.command(
    epilog=ending(
        "fofa-import efficientnet-lite0 --out runs/lite0",
        "fofa-import ofa_mbv3_d234_e346_k357_w1.0 --out runs/ofa",
    )
)
def import_checkpoint(
    weights: Annotated[
        str,
        typer.Argument(
            help="efficientnet-lite0 (ImageNet weights of an installed package), or the file of a "
            "checkpoint of OFA or CompOFA (MobileNetV3 or ProxylessNAS), as torch saved it."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Run folder to make.")],
    data: Annotated[
        str, typer.Option(help="Data set that the run is evaluated on unless told otherwise.")
    ] = "imagenet:data/imagenet",
) -> None:
    """Read published weights safely (tensors only) and write a run folder.

    The run is taken by fofa-train --init, fofa-eval, fofa-search and fofa-export. Images are
    normalised as the weights want it. Classes of EfficientNet-Lite0 have ImageNet's names, those of
    a checkpoint are called by their numbers.
    """
    from fofa.runs import RECORD_NAME, WEIGHTS_NAME
    from fofa.supernet.weights import save_weights

    if (out / RECORD_NAME).exists():
        raise UserError(f"{out}: holds a run already; choose another folder")
    pretrained = weights == EFFICIENTNET_LITE0.name
    supernet, record = _lite0(data) if pretrained else _checkpoint(Path(weights), data)
    save_weights(supernet, out / WEIGHTS_NAME)
    record.write(out / RECORD_NAME)
    if pretrained:
        _keep_statistics(supernet, out)
    config = supernet.config
    say(
        f"{out}: {config.kind} supernet, width {config.width_mult:g}, {config.num_classes} "
        f"classes, kernels {'-'.join(map(str, config.max_kernels))} ({config.kernel_mode}), "
        f"{config.family}"
    )


def _checkpoint(path: Path, data: str) -> tuple[Supernet, RunRecord]:
    from fofa.data.source import IMAGENET_MEAN, IMAGENET_STD
    from fofa.supernet.foreign import import_supernet

    supernet = import_supernet(path)
    recipe = {"transform": "ofa", "centre": "compofa", "fixed": "imported"}
    classes = [str(number) for number in range(supernet.config.num_classes)]
    chosen = recipe[supernet.config.kernel_mode]
    return supernet, _record(supernet, chosen, data, classes, IMAGENET_MEAN, IMAGENET_STD)


def _lite0(data: str) -> tuple[Supernet, RunRecord]:
    from torchvision.models import EfficientNet_B0_Weights

    from fofa.runs import PRETRAINED
    from fofa.supernet.pretrained import LITE0_NORMALISATION, find_lite0, load_lite0

    supernet = load_lite0(find_lite0())
    # Of ImageNet, that is; reading the list loads no weights.
    classes = list(EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"])
    channels = (LITE0_NORMALISATION,) * 3
    return supernet, _record(supernet, PRETRAINED, data, classes, channels, channels)


def _record(
    supernet: Supernet,
    recipe: str,
    data: str,
    class_names: list[str],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> RunRecord:
    from fofa.accuracy import TrainingRecord
    from fofa.runs import RunRecord

    return RunRecord(
        recipe=recipe,
        preset=None,
        dataset=data.partition(":")[0],
        data_spec=data,
        class_names=class_names,
        mean=mean,
        std=std,
        supernet=supernet.config,
        resolutions=list(DEFAULT_RESOLUTIONS),
        training=TrainingRecord(
            epochs=0, gpu_hours=0, device="unknown (imported)", images_per_second=0, seed=0
        ),
        status="imported",
        step=0,
    )


def _keep_statistics(supernet: Supernet, out: Path) -> None:
    """Keep the published BatchNorm statistics, which are the largest subnet's at its own size.

    They let it be exported without ImageNet.
    """
    from fofa.recalibration import keep_statistics
    from fofa.runs import Run
    from fofa.supernet.pretrained import LITE0_RESOLUTION

    architecture = Architecture(supernet.largest, LITE0_RESOLUTION)
    keep_statistics(Run.open(out), architecture, supernet.extract(supernet.largest))


def main() -> None:
    """Entry point of `fofa-import`."""
    run_app(app, "fofa-import")


if __name__ == "__main__":
    main()
