"""Presets: where a recipe trains. Data set, resolutions, batch, and how much of the schedule.

Everything in a preset can be changed by an option of `fofa-train`.
"""

from __future__ import annotations

from dataclasses import dataclass
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
        data: the spec to use when none is given; None where a folder has to be named.
        data_sets: kinds of data that the preset is meant for.
        batch_size: images of one process and step.
        epoch_scale: factor on every phase's epochs.
        train_fraction: share of the training images.
        crop: augmentation of data kept in memory (`fofa.data.augmentation`).
        zero_init_residual: start residual blocks as identities (`fofa.supernet.weights`).
        proxy: says that accuracies measured here stand in for a larger setting.
    """

    name: str
    summary: str
    data: str | None
    data_sets: tuple[str, ...]
    resolutions: tuple[int, ...]
    width_mult: float = 1.0
    batch_size: int
    epoch_scale: float = 1.0
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

PRESETS = {preset.name: preset for preset in (IMAGENET, CIFAR10, CIFAR10_SMALL, SHAPES)}


def get_preset(name: str) -> Preset:
    """The preset called `name`.

    Raises:
        UserError: if there is none, listing those there are.
    """
    if name not in PRESETS:
        raise UserError(f"preset {name!r}: expected one of {', '.join(PRESETS)}")
    return PRESETS[name]
