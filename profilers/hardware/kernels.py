"""A block as the kernels that a fusing runtime would launch, with what each computes and moves.

A convolution takes its norm, activation and residual addition along, as deployed graphs do. Counts
are for one image, except weights, which a batch reads once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fofa.space import BlockSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One launch.

    Attributes:
        unit: what computes it: `matrix` (dense convolutions) or `vector` (depthwise ones, pooling,
            scaling).
        macs: multiply-adds per image.
        activations: values read and written per image.
        weights: values read once per batch.
    """

    name: str
    unit: Literal["matrix", "vector"]
    macs: int
    activations: int
    weights: int = 0


def block_kernels(block: BlockSpec) -> list[Kernel]:
    """The kernels of a block in order; their MACs add up to those of `fofa.space.block_macs`."""
    match block.key.position:
        case "stem":
            return [_stem(block)]
        case "head":
            return _head(block)
        case _:
            return _mbconv(block)


def _stem(block: BlockSpec) -> Kernel:
    weights = block.in_channels * block.out_channels * block.kernel**2
    inside, outside = block.in_size**2, block.out_size**2
    return Kernel(
        name="stem",
        unit="matrix",
        macs=weights * outside,
        activations=block.in_channels * inside + block.out_channels * outside,
        weights=weights,
    )


def _pointwise(name: str, into: int, out: int, pixels: int, *, added: bool = False) -> Kernel:
    """A 1x1 convolution or linear layer; `added` reads a residual of the output's size."""
    return Kernel(
        name=name,
        unit="matrix",
        macs=into * out * pixels,
        activations=(into + out * (2 if added else 1)) * pixels,
        weights=into * out,
    )


def _mbconv(block: BlockSpec) -> list[Kernel]:
    inside, outside = block.in_size**2, block.out_size**2
    mid, squeezed, window = block.mid_channels, block.squeeze_channels, block.kernel**2
    kernels = []
    if block.expands:
        kernels.append(_pointwise("expand", block.in_channels, mid, inside))
    kernels.append(
        Kernel(
            name="depthwise",
            unit="vector",
            macs=mid * window * outside,
            activations=mid * (inside + outside),
            weights=mid * window,
        )
    )
    if squeezed:
        kernels += [
            Kernel(name="pool", unit="vector", macs=0, activations=mid * outside + mid),
            _pointwise("squeeze", mid, squeezed, 1),
            _pointwise("excite", squeezed, mid, 1),
            Kernel(name="scale", unit="vector", macs=0, activations=2 * mid * outside + mid),
        ]
    kernels.append(_pointwise("project", mid, block.out_channels, outside, added=block.residual))
    return kernels


def _head(block: BlockSpec) -> list[Kernel]:
    pixels, mid = block.in_size**2, block.mid_channels
    return [
        _pointwise("expand", block.in_channels, mid, pixels),
        Kernel(name="pool", unit="vector", macs=0, activations=mid * pixels + mid),
        _pointwise("features", mid, block.out_channels, 1),
        _pointwise("classes", block.out_channels, block.num_classes, 1),
    ]
