"""Public networks of which latencies have been published, written down layer by layer.

Names are those of timm; shapes follow the papers (named at each function) and the implementations
that the published figures were measured with. `published_network` also knows the specialised
networks of OFA, which are data (`published_networks.json`), and `block_operators` the blocks of
this project's own.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fofa.errors import UserError
from fofa.space import BlockSpec
from fofa.space.blocks import make_divisible
from profilers.estimates.operators import Layers, OperatorGraph

OFA_FILE = Path(__file__).with_name("published_networks.json")
CLASSES = 1000


def published_network(name: str, resolution: int) -> OperatorGraph:
    """The operators of a network for square images of side `resolution`.

    Raises:
        UserError: if it is not described here.
    """
    described = _ofa_networks()
    if name in described:
        return _ofa_network(described[name], resolution)
    if name not in NETWORKS:
        known = ", ".join(sorted([*NETWORKS, *described]))
        raise UserError(f"no description of a network {name!r}; there are {known}")
    return NETWORKS[name](Layers(3, resolution))


def inverted_residual(
    net: Layers,
    out: int,
    kernel: int,
    stride: int,
    *,
    mid: int,
    expands: bool | None = None,
    squeezed: int = 0,
    residual: bool | None = None,
) -> None:
    """The block of MobileNetV2 (Sandler et al., 2018), V3 and EfficientNet.

    Args:
        mid: expanded channels.
        expands: by default where they are not those of the input.
        squeezed: inner channels of squeeze-excite, 0 for none.
        residual: by default where shapes allow.
    """
    before, channels = net.value, net.channels
    if mid != channels if expands is None else expands:
        net.conv(mid)
    net.conv(mid, kernel, stride, groups=mid)
    if squeezed:
        net.squeeze_excite(squeezed)
    net.conv(out, act=False)
    if (stride == 1 and channels == out) if residual is None else residual:
        net.pointwise(before)


def _classify(net: Layers, hidden: int | None = None) -> OperatorGraph:
    net.pool()
    if hidden is not None:
        net.linear(hidden, act=True)
    net.linear(CLASSES)
    return net.finish()


def _resnet(
    depths: Sequence[int], *, bottleneck: bool, groups: int = 1, width: int = 64
) -> Callable[[Layers], OperatorGraph]:
    """He et al., 2016; with groups Xie et al., 2017 (ResNeXt); wider Zagoruyko et al., 2016."""

    def build(net: Layers) -> OperatorGraph:
        net.conv(64, 7, 2)
        net.pool(3, 2)
        for stage, depth in enumerate(depths):
            base = 64 * 2**stage
            for index in range(depth):
                stride = 2 if stage and not index else 1
                out = 4 * base if bottleneck else base
                before, channels, size = net.value, net.channels, net.size
                if bottleneck:
                    inner = base * width * groups // 64
                    net.conv(inner)
                    net.conv(inner, 3, stride, groups=groups)
                    net.conv(out, act=False)
                else:
                    net.conv(base, 3, stride)
                    net.conv(base, 3, act=False)
                if stride != 1 or channels != out:
                    main, net.value, net.channels, net.size = net.value, before, channels, size
                    net.conv(out, 1, stride, act=False)
                    before, net.value = net.value, main
                net.pointwise(before)
                net.pointwise()
        return _classify(net)

    return build


def _vgg(depths: Sequence[int]) -> Callable[[Layers], OperatorGraph]:
    """Simonyan and Zisserman, 2015."""

    def build(net: Layers) -> OperatorGraph:
        for channels, depth in zip((64, 128, 256, 512, 512), depths, strict=True):
            for _ in range(depth):
                net.conv(channels, 3)
            net.size //= 2
            net.value = net.add("pass", (net.value,), net.channels * net.size**2)
        net.channels, net.size = net.channels * net.size**2, 1
        net.linear(4096, act=True)
        net.linear(4096, act=True)
        net.linear(CLASSES)
        return net.finish()

    return build


def _densenet(depths: Sequence[int], growth: int, stem: int) -> Callable[[Layers], OperatorGraph]:
    """Huang et al., 2017: norms come before convolutions, so they cannot be folded."""

    def build(net: Layers) -> OperatorGraph:
        net.conv(stem, 7, 2)
        net.pool(3, 2)
        for stage, depth in enumerate(depths):
            for _ in range(depth):
                features, channels = net.value, net.channels
                net.normalise()
                net.pointwise()
                net.conv(4 * growth)
                net.conv(growth, 3, act=False, norm=False)
                net.concat((features, channels))
            if stage < len(depths) - 1:
                net.normalise()
                net.pointwise()
                net.conv(net.channels // 2, act=False, norm=False)
                net.pool(2, 2)
        net.normalise()
        net.pointwise()
        return _classify(net)

    return build


def _mobilenet_v1(net: Layers) -> OperatorGraph:
    """Howard et al., 2017."""
    net.conv(32, 3, 2)
    plan = (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *(((512, 1),) * 5)
    for channels, stride in (*plan, (1024, 2), (1024, 1)):
        net.conv(net.channels, 3, stride, groups=net.channels)
        net.conv(channels)
    return _classify(net)


def _mobilenet_v2(net: Layers) -> OperatorGraph:
    """Sandler et al., 2018."""
    net.conv(32, 3, 2)
    for expand, channels, depth, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for index in range(depth):
            inverted_residual(net, channels, 3, 1 if index else stride, mid=expand * net.channels)
    net.conv(1280)
    return _classify(net)


def _mnasnet(net: Layers) -> OperatorGraph:
    """Tan et al., 2019 (B1)."""
    net.conv(32, 3, 2)
    for expand, channels, depth, stride, kernel in (
        (1, 16, 1, 1, 3),
        (3, 24, 3, 2, 3),
        (3, 40, 3, 2, 5),
        (6, 80, 3, 2, 5),
        (6, 96, 2, 1, 3),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    ):
        for index in range(depth):
            inverted_residual(
                net, channels, kernel, 1 if index else stride, mid=expand * net.channels
            )
    net.conv(1280)
    return _classify(net)


# Kernel, expanded channels, output channels, squeeze-excite, stride.
_V3_LARGE = (
    (3, 16, 16, False, 1),
    (3, 64, 24, False, 2),
    (3, 72, 24, False, 1),
    (5, 72, 40, True, 2),
    (5, 120, 40, True, 1),
    (5, 120, 40, True, 1),
    (3, 240, 80, False, 2),
    (3, 200, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 480, 112, True, 1),
    (3, 672, 112, True, 1),
    (5, 672, 160, True, 2),
    (5, 960, 160, True, 1),
    (5, 960, 160, True, 1),
)
_V3_SMALL = (
    (3, 16, 16, True, 2),
    (3, 72, 24, False, 2),
    (3, 88, 24, False, 1),
    (5, 96, 40, True, 2),
    (5, 240, 40, True, 1),
    (5, 240, 40, True, 1),
    (5, 120, 48, True, 1),
    (5, 144, 48, True, 1),
    (5, 288, 96, True, 2),
    (5, 576, 96, True, 1),
    (5, 576, 96, True, 1),
)


def _mobilenet_v3(
    plan: Sequence[tuple[int, int, int, bool, int]], last: int, hidden: int
) -> Callable[[Layers], OperatorGraph]:
    """Howard et al., 2019."""

    def build(net: Layers) -> OperatorGraph:
        net.conv(16, 3, 2)
        for kernel, mid, out, squeeze, stride in plan:
            squeezed = make_divisible(mid / 4) if squeeze else 0
            inverted_residual(net, out, kernel, stride, mid=mid, squeezed=squeezed)
        net.conv(last)
        return _classify(net, hidden)

    return build


def _efficientnet(width: float, depth: float) -> Callable[[Layers], OperatorGraph]:
    """Tan and Le, 2019."""

    def build(net: Layers) -> OperatorGraph:
        net.conv(make_divisible(32 * width), 3, 2)
        for expand, channels, repeats, stride, kernel in (
            (1, 16, 1, 1, 3),
            (6, 24, 2, 2, 3),
            (6, 40, 2, 2, 5),
            (6, 80, 3, 2, 3),
            (6, 112, 3, 1, 5),
            (6, 192, 4, 2, 5),
            (6, 320, 1, 1, 3),
        ):
            for index in range(math.ceil(repeats * depth)):
                before = net.channels
                inverted_residual(
                    net,
                    make_divisible(channels * width),
                    kernel,
                    1 if index else stride,
                    mid=expand * before,
                    squeezed=max(1, before // 4),
                )
        net.conv(make_divisible(1280 * width))
        return _classify(net)

    return build


def _convnext(depths: Sequence[int], widths: Sequence[int]) -> Callable[[Layers], OperatorGraph]:
    """Liu et al., 2022."""

    def build(net: Layers) -> OperatorGraph:
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            if stage:
                net.normalise()
            net.conv(width, 2 if stage else 4, 2 if stage else 4, act=False)
            if not stage:
                net.normalise()
            for _ in range(depth):
                before = net.value
                net.conv(width, 7, groups=width, act=False)
                net.normalise()
                net.linear(4 * width, act=True)
                net.linear(width)
                net.pointwise()
                net.pointwise(before)
        net.pool()
        net.normalise()
        net.linear(CLASSES)
        return net.finish()

    return build


def _vision_transformer(
    width: int, depth: int, heads: int, patch: int
) -> Callable[[Layers], OperatorGraph]:
    """Dosovitskiy et al., 2021."""

    def build(net: Layers) -> OperatorGraph:
        net.conv(width, patch, patch, act=False)
        tokens = net.size**2 + 1

        def product(name: str, out: int) -> str:
            weights = net.graph.sizes[name] // tokens * out
            return net.add(
                "dense",
                (name,),
                tokens * out,
                macs=weights * tokens,
                weights=weights,
                depth=weights // out,
            )

        value = net.add("pass", (net.value,), tokens * width)
        value = net.add("pointwise", (value,), tokens * width)
        for _ in range(depth):
            before = value
            queries = product(net.add("pass", (value,), tokens * width), 3 * width)
            scores = net.add(
                "dense",
                (queries,),
                heads * tokens**2,
                macs=tokens**2 * width,
                depth=width // heads,
            )
            row = net.add("pass", (scores,), heads * tokens**2, softmax=True)
            mixed = net.add(
                "dense", (row, queries), tokens * width, macs=tokens**2 * width, depth=tokens
            )
            value = net.add("pointwise", (product(mixed, width), before), tokens * width)
            before = value
            hidden = product(net.add("pass", (value,), tokens * width), 4 * width)
            hidden = net.add("pointwise", (hidden,), 4 * tokens * width)
            value = net.add("pointwise", (product(hidden, width), before), tokens * width)
        net.add("pass", (value,), tokens * width)
        net.value = net.add("view", (value,), width)
        net.channels, net.size = width, 1
        net.linear(CLASSES)
        return net.finish()

    return build


NETWORKS: dict[str, Callable[[Layers], OperatorGraph]] = {
    "resnet18": _resnet((2, 2, 2, 2), bottleneck=False),
    "resnet34": _resnet((3, 4, 6, 3), bottleneck=False),
    "resnet50": _resnet((3, 4, 6, 3), bottleneck=True),
    "resnet101": _resnet((3, 4, 23, 3), bottleneck=True),
    "resnet152": _resnet((3, 8, 36, 3), bottleneck=True),
    "resnext50_32x4d": _resnet((3, 4, 6, 3), bottleneck=True, groups=32, width=4),
    "wide_resnet50_2": _resnet((3, 4, 6, 3), bottleneck=True, width=128),
    "vgg11": _vgg((1, 1, 2, 2, 2)),
    "vgg16": _vgg((2, 2, 3, 3, 3)),
    "densenet121": _densenet((6, 12, 24, 16), 32, 64),
    "densenet161": _densenet((6, 12, 36, 24), 48, 96),
    "mobilenetv1_100": _mobilenet_v1,
    "mobilenetv2_100": _mobilenet_v2,
    "mnasnet_100": _mnasnet,
    "mobilenetv3_large_100": _mobilenet_v3(_V3_LARGE, 960, 1280),
    "mobilenetv3_small_100": _mobilenet_v3(_V3_SMALL, 576, 1024),
    "efficientnet_b0": _efficientnet(1.0, 1.0),
    "efficientnet_b1": _efficientnet(1.0, 1.1),
    "efficientnet_b4": _efficientnet(1.4, 1.8),
    "convnext_tiny": _convnext((3, 3, 9, 3), (96, 192, 384, 768)),
    "vit_small_patch16_224": _vision_transformer(384, 12, 6, 16),
}


@functools.cache
def _ofa_networks() -> dict[str, Any]:
    described: dict[str, Any] = json.loads(OFA_FILE.read_text(encoding="utf-8"))
    return described


def _ofa_network(described: dict[str, Any], resolution: int) -> OperatorGraph:
    net = Layers(3, resolution)
    net.conv(described["stem_out_channels"], 3, 2)
    for block in described["blocks"]:
        inverted_residual(
            net,
            block["out_channels"],
            block["kernel"],
            block["stride"],
            mid=block["mid_channels"],
            squeezed=make_divisible(block["mid_channels"] // 4) if block["squeeze"] else 0,
            residual=block["residual"],
        )
    if described["final_expand"]:
        net.conv(described["final_expand"])
    net.conv(described["feature_channels"])
    return _classify(net)


def block_operators(block: BlockSpec) -> OperatorGraph:
    """The operators of one block; their MACs are those of `fofa.space.block_macs`."""
    net = Layers(block.in_channels, block.in_size)
    match block.key.position:
        case "stem":
            net.conv(block.out_channels, block.kernel, block.stride)
        case "head":
            net.conv(block.mid_channels)
            net.pool()
            if block.feature_mix:
                net.linear(block.out_channels, act=True)
            net.linear(block.num_classes)
        case _:
            inverted_residual(
                net,
                block.out_channels,
                block.kernel,
                block.stride,
                mid=block.mid_channels,
                expands=block.expands,
                squeezed=block.squeeze_channels,
                residual=block.residual,
            )
    return net.finish()
