"""Training one chosen network alone for a little, with the largest of its supernet as its teacher.

It is trained where it is, as the part of the supernet's weights that it uses: the result is a run
folder whose other subnets are of no use any more, which its record says.
"""

from __future__ import annotations

from collections.abc import Mapping

from fofa.data import DataSource
from fofa.distributed import Processes
from fofa.errors import UserError
from fofa.recalibration import calibrate
from fofa.recipes import Phase, Recipe
from fofa.runs import Run
from fofa.space import Architecture, Subnet
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.supernet.network import PlainNetwork
from fofa.train.settings import RATE_IMAGES, TrainSettings

RECIPE = "finetune"
LEARNING_RATE = 0.02
"""For 256 images, at its highest; the network has been trained already."""
BATCH_SIZE = 64
CALIBRATION_IMAGES, CALIBRATION_BATCH = 1000, 100


def finetune_recipe(config: SupernetConfig, subnet: Subnet) -> Recipe:
    """One epoch, which settings make longer: labels and teacher, as in equation 2."""
    phase = Phase(
        name=RECIPE,
        warmup_epochs=0.1,
        epochs=0.9,
        learning_rate=LEARNING_RATE * 2048 / RATE_IMAGES,
        anchors=(subnet,),
        loss="teacher",
    )
    return Recipe(
        name=RECIPE,
        summary="one network alone, distilled from the largest",
        kind=config.kind,
        kernel_mode=config.kernel_mode,
        phases=(phase,),
        begins_with_teacher=True,
        clip_norm=1.0,
    )


def finetune_settings(
    run: Run, architecture: Architecture, processes: Processes, chosen: Mapping[str, object]
) -> TrainSettings:
    """Settings as a person chose them; the run's own where the value is None.

    Raises:
        UserError: if the architecture is not the run's, or a setting is wrong.
    """
    record, before = run.record, TrainSettings.of_run(run.folder)
    if record.finetuned not in (None, architecture.name):
        raise UserError(f"{run.folder}: is fine-tuned for {record.finetuned} only")
    if architecture.subnet not in record.space:
        raise UserError(
            f"{architecture.name} is not in the run's space, which is {record.space.kind}"
        )
    values: dict[str, object] = {
        "recipe": RECIPE,
        "preset": record.preset,
        "data": record.data_spec,
        "train_fraction": before.train_fraction if before else 1.0,
        "crop": before.crop if before else "pad",
        "batch_size": before.batch_size if before else BATCH_SIZE,
        "precision": before.precision if before else "fp32",
        "family": record.supernet.family,
        "width_mult": record.supernet.width_mult,
        "resolutions": (architecture.resolution,),
        "processes": processes.world_size,
        "init": str(run.folder),
        "architecture": architecture.name,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    return TrainSettings.checked(values | given)


def make_teacher(supernet: Supernet, data: DataSource, resolution: int) -> PlainNetwork:
    """The largest subnet, recalibrated, in evaluation mode: as it would be evaluated."""
    was_training = supernet.training
    batches = data.calibration_batches(resolution, CALIBRATION_IMAGES, CALIBRATION_BATCH)
    teacher = calibrate(supernet.eval(), Architecture(supernet.largest, resolution), batches)
    supernet.train(was_training)
    return teacher
