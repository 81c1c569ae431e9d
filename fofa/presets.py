"""Presets: where a recipe trains, and which: data, resolutions, batch, how much of the schedule.

Everything in a preset can be changed by an option of `fofa-train`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fofa.accuracy import ProxyRecord
from fofa.errors import UserError
from fofa.space import DEFAULT_RESOLUTIONS

if TYPE_CHECKING:  # which loads torch
    from fofa.data.augmentation import Crop


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A training setting.

    Attributes:
        recipe: what trains where none is named (`fofa.recipes`).
        data: the spec to use when none is given; None where a folder has to be named.
        data_sets: kinds of data that the preset is meant for.
        batch_size: images of one process and step.
        epoch_scale: factor on every phase's epochs, where no budget is set.
        budget_hours: of cores or GPUs, that training may cost.
        train_fraction: share of the training images.
        crop: augmentation (`fofa.data.augmentation`).
        zero_init_residual: start residual blocks as identities (`fofa.supernet.weights`).
        proxy: says that accuracies measured here stand in for a larger setting.
    """

    name: str
    summary: str
    recipe: str = "fofa-n3"
    data: str | None
    data_sets: tuple[str, ...]
    resolutions: tuple[int, ...]
    width_mult: float = 1.0
    batch_size: int
    epoch_scale: float = 1.0
    budget_hours: float | None = None
    train_fraction: float = 1.0
    crop: Crop = "pad"
    zero_init_residual: bool = False
    proxy: ProxyRecord | None = None


IMAGENET = Preset(
    name="imagenet",
    summary="the paper's setting: 128 to 224 px, 256 images per GPU",
    data=None,
    data_sets=("imagenet", "folder", "wds"),
    resolutions=DEFAULT_RESOLUTIONS,
    batch_size=256,
    crop="resized",
)
CIFAR10 = Preset(
    name="cifar10",
    summary="CIFAR-10 at 128 to 224 px for one GPU, a tenth of the epochs",
    data="cifar10:data/cifar10",
    data_sets=("cifar10",),
    resolutions=DEFAULT_RESOLUTIONS,
    batch_size=256,
    epoch_scale=0.1,
)
CIFAR10_SMALL = Preset(
    name="cifar10-small",
    summary="a part of CIFAR-10 at 32 to 56 px, for a CPU",
    data="cifar10:data/cifar10",
    data_sets=("cifar10",),
    resolutions=(32, 40, 48, 56),
    batch_size=64,
    epoch_scale=0.1,
    train_fraction=0.4,
    zero_init_residual=True,
    proxy=ProxyRecord(
        resolution_scale=4,
        reason="trained on a CPU with 32 to 56 px images, which stand in for 128 to 224 px",
    ),
)
SHAPES = Preset(
    name="shapes",
    summary="drawn shapes at 24 and 32 px: about a minute on two CPU cores",
    data="shapes",
    data_sets=("shapes",),
    resolutions=(24, 32),
    batch_size=32,
    epoch_scale=0.006,
    zero_init_residual=True,
)

FOLDER = Preset(
    name="folder",
    summary="images of one's own: sizes, batch and time by how many there are and the hardware",
    data=None,
    data_sets=("folder", "imagenet", "wds"),
    resolutions=(96, 128, 160),
    batch_size=32,
    crop="mild",
    zero_init_residual=True,
)

PRESETS = {preset.name: preset for preset in (IMAGENET, CIFAR10, CIFAR10_SMALL, SHAPES, FOLDER)}

MINUTES_FOR_1000 = 6.0
"""By the clock, of training for a thousand images from pretrained weights. How many steps that is
on a machine, `fofa-train` finds out by timing some."""
FROM_RANDOM = 4.0
"""How much longer random weights take to become of any use."""
GPU_SPEED = 20.0
"""A GPU against two cores, roughly, at the larger images that it is given."""
SHORTEST_MINUTES, LONGEST_MINUTES = 2.0, 480.0
FEW_IMAGES = 5000
"""Below, a CPU leaves the largest size out: it takes half of the time, of evaluation, too."""


def folder_preset(
    num_images: int, *, on_gpu: bool, pretrained: bool, processors: int = 1
) -> Preset:
    """The preset `folder` for so many training images and this hardware.

    Args:
        processors: cores, or GPUs, that train at the same time.
    """
    minutes = MINUTES_FOR_1000 * num_images / 1000 * (1 if pretrained else FROM_RANDOM)
    minutes = min(max(minutes / (GPU_SPEED if on_gpu else 1), SHORTEST_MINUTES), LONGEST_MINUTES)
    sizes = FOLDER.resolutions[:-1] if num_images < FEW_IMAGES else FOLDER.resolutions
    # At least ten steps an epoch, and what batch normalisation needs.
    batch = 2 ** max(3, (num_images // 10).bit_length() - 1)
    return replace(
        FOLDER,
        resolutions=DEFAULT_RESOLUTIONS if on_gpu else sizes,
        batch_size=max(min(batch, 128 if on_gpu else 32, num_images), 1),
        budget_hours=round(processors * minutes / 60, 4),
    )


def choose_preset(name: str | None, data: str | None) -> Preset:
    """The preset of this name, or without one that for the data.

    Raises:
        UserError: if there is none of the name, or several are for the data.
    """
    if name is not None:
        return get_preset(name)
    kind = SHAPES.name if data is None else data.partition(":")[0]
    if kind in ("folder", "wds"):
        return FOLDER
    fitting = presets_for(kind)
    if len(fitting) > 1 and kind in PRESETS and kind != CIFAR10.name:
        return PRESETS[kind]
    if len(fitting) > 1:
        raise UserError(f"--data {data}: name a setting for it, --preset {' or '.join(fitting)}")
    return PRESETS[fitting[0]] if fitting else SHAPES


def presets_for(kind: str) -> list[str]:
    """The names of the presets that are meant for a kind of data, such as `folder`."""
    return [preset.name for preset in PRESETS.values() if kind in preset.data_sets]


def get_preset(name: str) -> Preset:
    """The preset called `name`.

    Raises:
        UserError: if there is none, listing those there are.
    """
    if name not in PRESETS:
        raise UserError(f"preset {name!r}: expected one of {', '.join(PRESETS)}")
    return PRESETS[name]
