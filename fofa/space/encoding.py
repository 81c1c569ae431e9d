"""Architectures as rows of small integers, so that thousands are handled by one array operation.

A row has 20 block slots, four for each stage in order. A slot holds the code of its block,
`3 * kernel index + expand index` (0 to 8), or `ABSENT` where the depth leaves the block out. The
resolution stands in a vector beside the rows, as an index into a list of resolutions. A subnet has
exactly one row, so that equal rows are equal subnets.

Imported where it is used, not from `fofa.space`, which stays free of numpy.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fofa.errors import UserError
from fofa.space.network import MAX_DEPTH
from fofa.space.spaces import compound_subnets
from fofa.space.subnet import (
    DEPTHS,
    EXPAND_OF_DEPTH,
    EXPANDS,
    KERNELS,
    NUM_STAGES,
    STAGE_KERNELS,
    Architecture,
    BlockChoice,
    Subnet,
)

NUM_SLOTS = NUM_STAGES * MAX_DEPTH
NUM_CHOICES = len(KERNELS) * len(EXPANDS)
ABSENT = NUM_CHOICES
"""Code of a slot that the depth leaves out: the last of `NUM_CODES` codes."""
NUM_CODES = NUM_CHOICES + 1
CHOICES = tuple(BlockChoice(k, e) for k, e in itertools.product(KERNELS, EXPANDS))
"""The block that each code stands for."""

_CODES = np.full((max(KERNELS) + 1, max(EXPANDS) + 1), ABSENT, dtype=np.uint8)
_CODES[[choice.kernel for choice in CHOICES], [choice.expand for choice in CHOICES]] = np.arange(
    NUM_CHOICES
)


@dataclass(frozen=True, slots=True)
class Population:
    """Many architectures at once.

    Attributes:
        codes: uint8 (N, 20), a block code for each slot.
        resolution_index: intp (N,), into `resolutions`.
        resolutions: in pixels.
    """

    codes: np.ndarray
    resolution_index: np.ndarray
    resolutions: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: np.ndarray | slice) -> Population:
        """The architectures of these rows."""
        return Population(self.codes[rows], self.resolution_index[rows], self.resolutions)

    def architecture(self, row: int) -> Architecture:
        """The architecture of one row."""
        resolution = self.resolutions[int(self.resolution_index[row])]
        return Architecture(decode(self.codes[row]), resolution)

    def keys(self) -> np.ndarray:
        """A 64-bit hash of each row, uint64 (N,): equal for equal architectures.

        Different ones share a hash with a chance of about 2^-64.
        """
        return (
            self.codes @ _MULTIPLIERS[:-1]
            + self.resolution_index.astype(np.uint64) * _MULTIPLIERS[-1]
        )


def encode(architectures: Iterable[Architecture], resolutions: Sequence[int]) -> Population:
    """The rows of these architectures.

    Raises:
        UserError: if an architecture's resolution is not one of `resolutions`.
    """
    listed = list(architectures)
    index_of = {resolution: index for index, resolution in enumerate(resolutions)}
    unknown = {a.resolution for a in listed} - set(index_of)
    if unknown:
        raise UserError(f"no resolution {sorted(unknown)} here, only {list(resolutions)}")
    stages = [blocks for architecture in listed for blocks in architecture.subnet.stages]
    kernels = [block.kernel for blocks in stages for block in blocks]
    expands = [block.expand for blocks in stages for block in blocks]
    depths = np.array([len(blocks) for blocks in stages], dtype=np.intp)
    codes = np.full((len(stages), MAX_DEPTH), ABSENT, dtype=np.uint8)
    codes[np.arange(MAX_DEPTH) < depths[:, None]] = _CODES[kernels, expands]
    return Population(
        codes=codes.reshape(-1, NUM_SLOTS),
        resolution_index=np.array([index_of[a.resolution] for a in listed], dtype=np.intp),
        resolutions=tuple(resolutions),
    )


def decode(codes: np.ndarray) -> Subnet:
    """The subnet of one row of 20 codes."""
    stages = codes.reshape(NUM_STAGES, MAX_DEPTH)
    return Subnet(
        tuple(tuple(CHOICES[int(code)] for code in stage if code != ABSENT) for stage in stages)
    )


@functools.cache
def compound_architectures(resolution: int) -> tuple[Architecture, ...]:
    """The 243 compound architectures at one resolution, in the order of their names."""
    return tuple(Architecture(subnet, resolution) for subnet in compound_subnets())


def compound_population(resolutions: Sequence[int]) -> Population:
    """Every compound architecture: 243 for each resolution, in the order of their names."""
    options = np.full((NUM_STAGES, len(DEPTHS), MAX_DEPTH), ABSENT, dtype=np.uint8)
    for stage, kernel in enumerate(STAGE_KERNELS):
        for row, depth in enumerate(DEPTHS):
            options[stage, row, :depth] = _CODES[kernel, EXPAND_OF_DEPTH[depth]]
    depths = np.array(list(itertools.product(range(len(DEPTHS)), repeat=NUM_STAGES)))
    codes = options[np.arange(NUM_STAGES), depths].reshape(-1, NUM_SLOTS)
    return Population(
        codes=np.tile(codes, (len(resolutions), 1)),
        resolution_index=np.repeat(np.arange(len(resolutions)), len(codes)),
        resolutions=tuple(resolutions),
    )


_MULTIPLIERS = np.array(
    [pow(0x9E3779B97F4A7C15, power, 2**64) for power in range(1, NUM_SLOTS + 2)], dtype=np.uint64
)
