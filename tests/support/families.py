"""A family that is none of those that come with the project, and unlike all of them."""

from __future__ import annotations

from pathlib import Path

from fofa.families import read_family
from fofa.space import Family

CUSTOM = """\
name: own-net
stem: {channels: 16, kernel: 5, stride: 2, activation: relu}
first: {channels: 8, kernel: 5, activation: relu6}
stages:
  - {channels: 16, stride: 2, kernel: 5, activation: relu6, compound: [[1, 2], [3, 4]]}
  - channels: 24
    stride: 2
    kernel: 3
    activation: h_swish
    squeeze_excite: true
    compound: [[2, 2], [3, 3]]
head: {channels: 64, feature_channels: 96, activation: h_swish}
kernels: [3, 5]
expands: [2, 3, 4]
norm_eps: 0.002
padding: tensorflow
unscaled: [head]
"""


def custom_family(folder: Path) -> Family:
    """The family as read from a file."""
    path = folder / "own.yaml"
    path.write_text(CUSTOM)
    return read_family(path)
