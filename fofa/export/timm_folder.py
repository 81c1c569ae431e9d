"""A network as a folder that timm builds: weights, their description, and a model card.

timm's own entry points fix the blocks of their networks, but its classes take any: `config.json`
has their arguments, with blocks in timm's notation (`ir_r1_k5_s2_e4_c40_se0.25_nre`), and the card
has the lines that build the network with them. timm itself is not needed to write the folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fofa.errors import UserError
from fofa.export.onnx_file import CROP
from fofa.files import write_text
from fofa.latency import Lut
from fofa.plain_text import one_line
from fofa.space import Architecture, BlockSpec, network_blocks
from fofa.supernet.network import ANY_RESOLUTION, PlainNetwork
from fofa.tensor_files import write_tensors

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"
ACTIVATIONS = {"relu": "nre", "relu6": "nr6", "h_swish": "nhs"}
LAYERS = {"relu": "relu", "relu6": "relu6", "h_swish": "hard_swish"}
"""timm's words for activations: in a block's text, and as an argument."""
LARGEST_STRIDE = 32
"""Beyond, timm's builder dilates kernels in place of a stride."""
CENTRE_SHARE = 0.875
CONV = ("weight",)
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
LINEAR = ("weight", "bias")
BUILD = """\
import json
from functools import partial

from safetensors.torch import load_file
from timm.layers import get_act_layer
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.{module} import {name}
from torch import nn

config = json.load(open("config.json", encoding="utf-8"))
network = {name}(
    decode_arch_def(config["block_definitions"]),
    act_layer=get_act_layer(config["act_layer"]),
    norm_layer=partial(nn.BatchNorm2d, eps=config["norm_eps"]),
    se_layer=partial(SqueezeExcite, gate_layer="hard_sigmoid", force_act_layer="relu"),
    round_chs_fn=int,
    **config["model_args"],
)
network.load_state_dict(load_file("model.safetensors"))
network.eval()
"""
"""What the card shows; `module` and `name` are of timm's class."""


def timm_class(network: PlainNetwork) -> tuple[str, str]:
    """timm's module and class: one whose head mixes features after the pool, or one without."""
    mixes = network.head.mix is not None
    return ("mobilenetv3", "MobileNetV3") if mixes else ("efficientnet", "EfficientNet")


def timm_config(network: PlainNetwork) -> dict[str, Any]:
    """What timm's class is built with: block texts and plain arguments.

    Raises:
        UserError: if timm has no such network: a stem of another kernel or stride, activations of
            stem and head that differ, or more than 32 pixels of the image to one of the last map.
    """
    stem, first, *stages, head = blocks_of(network)
    total = stem.stride
    for block in stages:
        total *= block.stride
    faults = {
        "a stem whose kernel is not 3 or stride not 2": (stem.kernel, stem.stride) != (3, 2),
        "stem and head of different activations": stem.activation != head.activation,
        f"strides of more than {LARGEST_STRIDE} together": total > LARGEST_STRIDE,
    }
    for fault, found in faults.items():
        if found:
            raise UserError(f"timm has no networks with {fault}; take --format onnx")
    module, _ = timm_class(network)
    rows = iter(stages)
    definitions = [[block_text(first, module)]]
    definitions += [
        [block_text(next(rows), module) for _ in range(depth)] for depth in network.subnet.depths
    ]
    arguments: dict[str, Any] = {
        "num_classes": head.num_classes,
        "stem_size": stem.out_channels,
        "fix_stem": True,
        "pad_type": "same" if stem.padding == "tensorflow" else "",
        "num_features": head.out_channels,
    }
    if module == "mobilenetv3":
        text = f"cn_r1_k1_s1_c{head.mid_channels}_{ACTIVATIONS[head.activation]}"
        definitions.append([text])
        arguments["head_bias"] = False
    return {
        "block_definitions": definitions,
        "act_layer": LAYERS[head.activation],
        "norm_eps": network.network_config.family.norm_eps,
        "model_args": arguments,
    }


def block_text(block: BlockSpec, module: str) -> str:
    """An MBConv in timm's notation."""
    kind, ratio = ("ir", block.mid_channels / block.in_channels) if block.expands else ("ds", 1.0)
    parts = [kind, "r1", f"k{block.kernel}", f"s{block.stride}"]
    if block.expands:
        parts.append(f"e{ratio:.17g}")
    parts.append(f"c{block.out_channels}")
    if block.squeeze_channels:
        # One of timm's two classes counts from the expanded width, the other from the input.
        whole = block.mid_channels if module == "mobilenetv3" else block.mid_channels / ratio
        parts.append(f"se{block.squeeze_channels / whole:.17g}")
    parts.append(ACTIVATIONS[block.activation])
    if not block.residual:
        parts.append("noskip")
    return "_".join(parts)


def timm_names(network: PlainNetwork) -> dict[str, str]:
    """For each tensor of the network, its name in timm's."""
    names: dict[str, str] = {}

    def pair(ours: str, theirs: str, parts: tuple[str, ...]) -> None:
        names.update({f"{ours}.{part}": f"{theirs}.{part}" for part in parts})

    pair("stem.conv", "conv_stem", CONV)
    pair("stem.bn", "bn1", NORM)
    places = {"first": "blocks.0.0"}
    for stage, depth in enumerate(network.subnet.depths):
        places |= {f"stages.{stage}.{i}": f"blocks.{stage + 1}.{i}" for i in range(depth)}
    for ours, theirs in places.items():
        expands = ours != "first"
        if expands:
            pair(f"{ours}.expand", f"{theirs}.conv_pw", CONV)
            pair(f"{ours}.expand_bn", f"{theirs}.bn1", NORM)
        pair(f"{ours}.depthwise", f"{theirs}.conv_dw", CONV)
        pair(f"{ours}.depthwise_bn", f"{theirs}.bn{2 if expands else 1}", NORM)
        pair(f"{ours}.squeeze.reduce", f"{theirs}.se.conv_reduce", LINEAR)
        pair(f"{ours}.squeeze.expand", f"{theirs}.se.conv_expand", LINEAR)
        pair(f"{ours}.project", f"{theirs}.{'conv_pwl' if expands else 'conv_pw'}", CONV)
        pair(f"{ours}.project_bn", f"{theirs}.bn{3 if expands else 2}", NORM)
    if network.head.mix is not None:
        last = f"blocks.{len(network.subnet.depths) + 1}.0"
        pair("head.expand", f"{last}.conv", CONV)
        pair("head.expand_bn", f"{last}.bn1", NORM)
        pair("head.mix", "conv_head", CONV)
    else:
        pair("head.expand", "conv_head", CONV)
        pair("head.expand_bn", "bn2", NORM)
    pair("head.classifier", "classifier", LINEAR)
    return {ours: theirs for ours, theirs in names.items() if ours in network.state_dict()}


def write_folder(
    network: PlainNetwork,
    architecture: Architecture,
    folder: Path,
    described: Mapping[str, str],
    luts: Sequence[Lut] = (),
) -> None:
    """Write weights, configuration and card to `folder`, made if need be.

    Args:
        described: what the file says of itself (`fofa.export.onnx_file.describe`).
        luts: latency tables whose predictions go into the card.

    Raises:
        UserError: if timm has no such network, a table has not its blocks, or the folder cannot be
            written.
    """
    config = timm_config(network)
    card = model_card(network, architecture, described, luts)
    side = architecture.resolution
    classes = json.loads(described["class_names"])
    centre = described["crop"] == CROP
    config = {
        "architecture": timm_class(network)[1],
        "num_classes": len(classes),
        **config,
        "pretrained_cfg": {
            "input_size": [3, side, side],
            "mean": json.loads(described["mean"]),
            "std": json.loads(described["std"]),
            "interpolation": "bilinear",
            "crop_pct": CENTRE_SHARE if centre else 1.0,
            "crop_mode": "center" if centre else "squash",
            "label_names": classes,
        },
        "fofa": dict(described),
    }
    names, state = timm_names(network), network.state_dict()
    tensors = {names[ours]: tensor.contiguous() for ours, tensor in state.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror}") from error
    write_tensors(folder / WEIGHTS_NAME, tensors)
    write_text(folder / CONFIG_NAME, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    write_text(folder / CARD_NAME, card)


def model_card(
    network: PlainNetwork,
    architecture: Architecture,
    described: Mapping[str, str],
    luts: Sequence[Lut] = (),
) -> str:
    """What the network is, how accurate and how fast, and the lines that build it."""
    side = architecture.resolution
    rows = [
        ("architecture", f"`{architecture.name}` of {network.network_config.family.name}"),
        ("training recipe", described["recipe"]),
        ("data", described["dataset"]),
        ("classes", str(len(json.loads(described["class_names"])))),
        ("images", f"RGB, {side} x {side} px"),
        ("multiply-adds", f"{int(described['macs']):,}"),
        ("parameters", f"{int(described['params']):,}"),
    ]
    if "top1" in described:
        rows.append(("top-1, measured", accuracy_text(described)))
    lines = [f"# {cell(described['name'])}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {cell(value)} |" for name, value in rows]
    if luts:
        lines += ["", "| device | latency | in 95% | how | error of the table |", "|" + "---|" * 5]
        lines += [latency_row(lut, architecture) for lut in luts]
    module, name = timm_class(network)
    lines += ["", "With timm, in this folder:", "", "```python"]
    text = BUILD.format(module=module, name=name)
    lines += [*text.splitlines(), "```", ""]
    lines.append("How a picture has to be prepared stands in `pretrained_cfg` of `config.json`.")
    return "\n".join(lines) + "\n"


def accuracy_text(described: Mapping[str, str]) -> str:
    """The accuracy and what it was measured on."""
    return (
        f"{float(described['top1']):.2f}% of {described['top1_test_images']} test images of "
        f"{described['top1_data']}"
    )


def latency_row(lut: Lut, architecture: Architecture) -> str:
    """What a latency table says of the network, and how far it was off itself."""
    interval = lut.interval_ms(architecture)
    error = "not stated" if lut.error_percent is None else f"{lut.error_percent:.2f}%"
    if lut.instability is not None:
        error += ", unstable"
    batch = lut.protocol.batch_size
    device = lut.device.hardware or lut.device.requested
    if lut.device.matches is False:
        device += f" (not the {lut.device.requested} of the table's name)"
    cells = (
        device,
        f"{lut.latency_ms(architecture):.3f} ms",
        f"{interval[0]:.3f} to {interval[1]:.3f} ms" if interval else "not stated",
        ", ".join(filter(None, (lut.method, lut.protocol.dtype, f"batch {batch}"))),
        error,
    )
    return f"| {' | '.join(map(cell, cells))} |"


def cell(text: str) -> str:
    """A text in a Markdown table: one line, without what would end the cell or become HTML."""
    return one_line(text).replace("|", "\\|").replace("<", "&lt;")


def blocks_of(network: PlainNetwork) -> list[BlockSpec]:
    """The description that a network was built from."""
    return network_blocks(network.subnet, ANY_RESOLUTION, network.network_config)
