"""Checkpoints of OFA and CompOFA as supernets: their key names, old and new.

Both are known, their MobileNetV3 and their ProxylessNAS. Blocks are numbered through there
(`blocks.0` is the first one, then four to a stage, one in ProxylessNAS's last). Elastic networks
double some names (`conv.conv.weight`), plain ones do not. A block's layers are called
`mobile_inverted_conv` in the published files and in CompOFA's, `conv` in today's once-for-all
code. Statistics' counters are dropped.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor

from fofa.errors import UserError
from fofa.files import explain
from fofa.space import MOBILENETV3, PROXYLESS, Family, NetworkConfig
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.supernet.weights import supernet_of
from fofa.tensor_files import check_plain, read_saved

NORM_KEYS = ("weight", "bias", "running_mean", "running_var")
CALLED = {MOBILENETV3: "MobileNetV3", PROXYLESS: "ProxylessNAS"}
"""How their authors call the families."""
FINAL_LAYER = {MOBILENETV3: "final_expand_layer", PROXYLESS: "feature_mix_layer"}
"""The head's expansion; ProxylessNAS gives it the name of the mix that it does not have."""
WIDTH_STEPS = [step / 20 for step in range(2, 81)]  # 0.1 to 4.0, of which 1.0 and 1.2 are known


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by their names, without doubled names and counters.

    Raises:
        UserError: if the file cannot be read, needs unpickling of other things than tensors, or
            holds no state dictionary.
    """
    content = read_saved(path, "a checkpoint of tensors")
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state:
        raise UserError(f"{path}: expected a dictionary with `state_dict`")
    if not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise UserError(f"{path}: expected a dictionary of tensors by name")
    for key, tensor in state.items():
        check_plain(tensor, f"{path}: {key}")
    tensors: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name = published_name(key)
        if name in tensors:
            raise UserError(f"{path}: holds {name} twice, once as {key}")
        if not key.endswith("num_batches_tracked"):
            tensors[name] = tensor.float()
    return tensors


def published_name(key: str) -> str:
    """A key as in the published files: one name for each of the forms that are about.

    Without doubled names (`.bn.bn.` -> `.bn.`), without a wrapper's `module.`, and with a block's
    `conv` of today's code called `mobile_inverted_conv`.
    """
    key = re.sub(r"\b(conv|bn|linear)\.\1\.", r"\1.", key.removeprefix("module."))
    return re.sub(r"^(blocks\.\d+)\.conv\.", r"\1.mobile_inverted_conv.", key)


def legacy_names(supernet: Supernet) -> dict[str, str]:
    """For each key of a supernet, but for counters, its name in a checkpoint of OFA or CompOFA."""
    names = _convolution("stem.conv", "first_conv") | _norm("stem.bn", "first_conv")
    names |= _block("first", 0, expands=False, squeezes=False)
    family = supernet.config.family
    for stage, first in enumerate(_first_of_stages(family)):
        for index in range(family.stages[stage].max_depth):
            ours, number = f"stages.{stage}.{index}", first + index
            block = supernet.block(stage + 1, index)
            names |= _block(ours, number, expands=True, squeezes=block.squeeze is not None)
            if supernet.transforms is not None:
                theirs = f"blocks.{number}.mobile_inverted_conv.depth_conv.conv"
                names[f"transforms.{stage}.{index}.to5"] = f"{theirs}.7to5_matrix"
                names[f"transforms.{stage}.{index}.to3"] = f"{theirs}.5to3_matrix"
    names |= _convolution("head.expand", FINAL_LAYER[family])
    names |= _norm("head.expand_bn", FINAL_LAYER[family])
    if supernet.head.mix is not None:
        names |= _convolution("head.mix", "feature_mix_layer")
    for part in ("weight", "bias"):
        names[f"head.classifier.{part}"] = f"classifier.linear.{part}"
    return names


def detect_config(state: dict[str, Tensor], source: str) -> SupernetConfig:
    """The supernet that a checkpoint's tensors describe.

    A norm after `feature_mix_layer` makes it ProxylessNAS. Transforms make it OFA's elastic space;
    7x7 kernels without them CompOFA's, which takes their centre; kernels of 3 and 5 the fixed ones
    of the paper.

    Raises:
        UserError: if a telling tensor is missing, or the shapes are of no network of the family.
    """
    family = PROXYLESS if "feature_mix_layer.bn.weight" in state else MOBILENETV3
    blocks = [f"blocks.{number}.mobile_inverted_conv" for number in _first_of_stages(family)]
    kernel_keys = [f"{block}.depth_conv.conv.weight" for block in blocks]
    outputs = [f"{block}.point_linear.conv.weight" for block in blocks]
    outer = dict.fromkeys(["first_conv", FINAL_LAYER[family], "feature_mix_layer"])
    widths = [f"{layer}.conv.weight" for layer in outer]
    telling = [*kernel_keys, *outputs, *widths, "classifier.linear.weight"]
    missing = [key for key in telling if key not in state]
    if missing:
        raise UserError(
            f"{source}: not a checkpoint of OFA's or CompOFA's {CALLED[family]}: missing "
            f"{', '.join(missing[:4])}{_more(missing)}; left over "
            f"{', '.join(sorted(state)[:3])}{_more(list(state), 3)}"
        )
    flat = [key for key in telling if state[key].dim() < 2]
    if flat:
        raise UserError(f"{source}: {flat[0]}: shape {list(state[flat[0]].shape)} is no layer's")
    kernels = tuple(int(state[key].shape[-1]) for key in kernel_keys)
    transforms = any(key.endswith("7to5_matrix") for key in state)
    if transforms:
        kind, mode = "elastic", "transform"
    else:
        kind, mode = "compound", "fixed" if kernels == family.compound_kernels else "centre"
    try:
        return SupernetConfig.model_validate(
            {
                "family": family,
                "kind": kind,
                "kernel_mode": mode,
                "max_kernels": kernels,
                "width_mult": _detect_width(state, family, (*widths, *outputs), source),
                "num_classes": state["classifier.linear.weight"].shape[0],
            }
        )
    except ValidationError as error:
        raise UserError(f"{source}: not a supernet of this family: {explain(error)}") from None


def import_supernet(path: Path) -> Supernet:
    """The supernet of a checkpoint of OFA or CompOFA, in evaluation mode.

    Raises:
        UserError: listing what is missing, left over or of another shape.
    """
    state = read_checkpoint(path)
    config = detect_config(state, str(path))
    return supernet_of_renamed(config, state, str(path), legacy_names)


def supernet_of_renamed(
    config: SupernetConfig,
    state: dict[str, Tensor],
    source: str,
    names_of: Callable[[Supernet], dict[str, str]],
) -> Supernet:
    """The supernet of `config` with the tensors of `state`, in evaluation mode.

    Args:
        source: where they are from, for messages.
        names_of: for each of a supernet's keys, but for counters, its name in `state`.

    Raises:
        UserError: listing what is missing, left over or of another shape.
    """
    with torch.device("meta"):
        shapes = Supernet(config)
    names = names_of(shapes)
    expected = {theirs: ours for ours, theirs in names.items()}
    renamed = {expected.get(key, key): tensor for key, tensor in state.items()}
    counters = {
        key: torch.zeros((), dtype=torch.int64)
        for key in shapes.state_dict()
        if key.endswith("num_batches_tracked")
    }
    return supernet_of(config, renamed | counters, source, names).eval()


def _detect_width(
    state: dict[str, Tensor], family: Family, keys: tuple[str, ...], source: str
) -> float:
    """The width multiplier; 1.0 first, where several round to the same channels."""
    found = tuple(state[key].shape[0] for key in keys)
    for width in sorted(WIDTH_STEPS, key=lambda width: (abs(width - 1.0), width)):
        network = NetworkConfig(family=family, width_mult=width)
        mixed = () if family.head.feature_channels is None else (network.feature_channels,)
        outer = (network.stem_channels, network.head_channels, *mixed)
        if found == (*outer, *network.stage_channels):
            return width
    raise UserError(
        f"{source}: no width multiplier gives channels {found} of stem, head and stages"
    )


def _first_of_stages(family: Family) -> list[int]:
    """The number of each stage's first block."""
    depths = [stage.max_depth for stage in family.stages]
    return [1, *itertools.accumulate(depths[:-1], initial=1)][1:]


def _block(ours: str, number: int, *, expands: bool, squeezes: bool) -> dict[str, str]:
    theirs = f"blocks.{number}.mobile_inverted_conv"
    names = _convolution(f"{ours}.depthwise", f"{theirs}.depth_conv")
    names |= _norm(f"{ours}.depthwise_bn", f"{theirs}.depth_conv")
    names |= _convolution(f"{ours}.project", f"{theirs}.point_linear")
    names |= _norm(f"{ours}.project_bn", f"{theirs}.point_linear")
    if expands:
        names |= _convolution(f"{ours}.expand", f"{theirs}.inverted_bottleneck")
        names |= _norm(f"{ours}.expand_bn", f"{theirs}.inverted_bottleneck")
    if squeezes:
        for layer in ("reduce", "expand"):
            for part in ("weight", "bias"):
                names[f"{ours}.squeeze.{layer}.{part}"] = (
                    f"{theirs}.depth_conv.se.fc.{layer}.{part}"
                )
    return names


def _convolution(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.weight": f"{theirs}.conv.weight"}


def _norm(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.{key}": f"{theirs}.bn.{key}" for key in NORM_KEYS}


def _more(names: list[str], shown: int = 4) -> str:
    return f" and {len(names) - shown} more" if len(names) > shown else ""
