"""Why in-place distillation: fofa-n3 against the naive sampling of equation 4, on `shapes`.

The naive rule (paper, section 3.3) trains as many random subnets a step from the labels alone:
without the full-sized one in every step, its soft targets, warm-up or clipping. Everything else is
equal: data, steps, batch, learning rate, seed. `python -m benchmarks.motivation`.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from fofa.commands.cli import make_app, run_app
from fofa.data import DataSource, open_data
from fofa.distributed import find_place
from fofa.errors import UserError
from fofa.presets import SHAPES
from fofa.recalibration import calibrate
from fofa.recipes import Recipe, fofa_n3
from fofa.space import Architecture, Subnet, compound_subnets
from fofa.supernet.model import Supernet
from fofa.train.settings import RunOptions, TrainSettings
from fofa.train.setup import Setup
from fofa.train.trainer import Trainer

app = make_app("Compare fofa-n3 with naive sampling (equation 4) on the drawn shapes.")


def naive() -> Recipe:
    """Equation 4: as many random subnets a step and as many epochs, from labels, unclipped."""
    parent = fofa_n3()
    warmup, distillation = parent.phases
    sampling = replace(
        distillation,
        name="sampling",
        epochs=warmup.total_epochs + distillation.total_epochs,
        anchors=(),
        num_random=distillation.num_subnets,
        loss="labels",
        fresh_optimizer=True,
    )
    return replace(
        parent,
        name="naive",
        summary="random subnets from the labels alone",
        phases=(sampling,),
        clip_norm=None,
    )


def unclipped() -> Recipe:
    """fofa-n3 without its limit on gradients, to tell that apart from the distillation."""
    return replace(fofa_n3(), name="unclipped", clip_norm=None)


WAYS = {"fofa-n3": fofa_n3, "unclipped": unclipped, "naive": naive}


@app.command()
def motivation(
    ways: Annotated[str, typer.Option(help="Which to train, of fofa-n3, unclipped and naive.")] = (
        "fofa-n3,unclipped,naive"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each way.")] = 3,
    epoch_scale: Annotated[float, typer.Option(help="Factor on the epochs.")] = 0.012,
    width_mult: Annotated[float, typer.Option(help="Width multiplier.")] = 0.5,
    every: Annotated[int, typer.Option(min=1, help="Evaluate one of so many subnets.")] = 12,
) -> None:
    """Train both ways with several seeds; print the test accuracy of subnets."""
    unknown = set(ways.split(",")) - set(WAYS)
    if unknown:
        raise UserError(f"--ways {ways!r}: expected some of {', '.join(WAYS)}")
    recipes = [WAYS[name]() for name in ways.split(",")]
    subnets = [s for i, s in enumerate(compound_subnets()) if i % every == 0]
    print(
        f"shapes at 32 px, width {width_mult:g}, epoch scale {epoch_scale:g}, {seeds} seeds; mean "
        f"top-1 of {len(subnets)} subnets, of the smallest and of the largest, in percent"
    )
    for recipe in recipes:
        rows = [accuracies(recipe, seed, epoch_scale, width_mult, subnets) for seed in range(seeds)]
        columns = [
            f"{name} {statistics.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"
            for name, values in zip(
                ("mean", "smallest", "largest"), zip(*rows, strict=True), strict=True
            )
        ]
        print(f"{recipe.name:9} {', '.join(columns)}")


def accuracies(
    recipe: Recipe, seed: int, epoch_scale: float, width_mult: float, subnets: list[Subnet]
) -> tuple[float, float, float]:
    """Train once; top-1 in percent: mean of `subnets`, the smallest, the largest."""
    settings = TrainSettings(
        recipe=recipe.name,
        data="shapes",
        width_mult=width_mult,
        resolutions=SHAPES.resolutions,
        batch_size=SHAPES.batch_size,
        epoch_scale=epoch_scale,
        zero_init_residual=SHAPES.zero_init_residual,
        seed=seed,
    )
    data, processes = open_data("shapes"), find_place("cpu")
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            Setup.of(settings, data, processes, recipe),
            Path(folder),
            processes=processes,
            options=RunOptions(trackers=()),
        )
        trainer.run()
        supernet = trainer.learner.supernet
    own = [top1(supernet, subnet, data) for subnet in subnets]
    smallest, largest = (top1(supernet, s, data) for s in (recipe.smallest(), recipe.largest()))
    return statistics.mean(own), smallest, largest


@torch.no_grad()
def top1(supernet: Supernet, subnet: Subnet, data: DataSource, resolution: int = 32) -> float:
    """Test accuracy in percent of one subnet, its BatchNorm recalibrated first."""
    batches = data.calibration_batches(resolution, 500, 100)
    network = calibrate(supernet, Architecture(subnet, resolution), batches)
    correct = sum(
        int((network(images).argmax(dim=1) == labels).sum())
        for images, labels in data.test_batches(resolution, 200)
    )
    return 100 * correct / data.num_test


if __name__ == "__main__":
    run_app(app, "python -m benchmarks.motivation")
