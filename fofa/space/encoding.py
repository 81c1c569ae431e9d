"""Architectures as rows of small integers, so that thousands are handled by one array operation.

A row has as many block slots for each stage, in order, as the family's deepest stage has blocks: 20
for MobileNetV3. A slot holds the code of its block, counted from 1, or `ABSENT` where the depth
leaves the block out. The resolution stands in a vector beside the rows, as an index into a list of
resolutions. A subnet has exactly one row, so that equal rows are equal subnets.

Imported where it is used, not from `fofa.space`, which stays free of numpy.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fofa.errors import UserError
from fofa.space.family import MOBILENETV3, Family
from fofa.space.spaces import compound_subnets
from fofa.space.subnet import Architecture, BlockChoice, Subnet

ABSENT = 0
"""Code of a slot that the depth leaves out."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """How the subnets of a family are written as rows; `encoding_of` makes it.

    Attributes:
        choices: the block that each code from 1 on stands for.
        codes: uint8, the code of a kernel and an expand ratio, by these two.
        multipliers: uint64 (num_slots + 1,), of the rows' hashes.
    """

    family: Family
    choices: tuple[BlockChoice, ...]
    codes: np.ndarray
    multipliers: np.ndarray

    @property
    def num_stages(self) -> int:
        return len(self.family.stages)

    @property
    def max_depth(self) -> int:
        """Slots of each stage."""
        return self.family.max_depth

    @property
    def num_slots(self) -> int:
        return self.num_stages * self.max_depth

    @property
    def num_codes(self) -> int:
        """Codes of a slot, `ABSENT` included."""
        return len(self.choices) + 1

    def depths_of(self, codes: np.ndarray) -> np.ndarray:
        """Depth of each stage, intp (N, stages), of rows (N, slots)."""
        return (codes != ABSENT).reshape(-1, self.num_stages, self.max_depth).sum(axis=2)

    def cut(self, codes: np.ndarray, depths: np.ndarray) -> np.ndarray:
        """`codes` with the slots beyond each stage's depth left out."""
        present = np.arange(self.max_depth) < depths[:, :, None]
        return np.where(present.reshape(codes.shape), codes, np.uint8(ABSENT))

    def draw_codes(self, rng: np.random.Generator, num: int) -> np.ndarray:
        """A random block in every slot, uint8 (num, slots)."""
        return rng.integers(1, self.num_codes, size=(num, self.num_slots), dtype=np.uint8)

    def draw_depths(self, rng: np.random.Generator, num: int) -> np.ndarray:
        """A random depth for every stage, int64 (num, stages)."""
        least = [stage.depths[0] for stage in self.family.stages]
        most = [stage.max_depth for stage in self.family.stages]
        return rng.integers(least, most, size=(num, self.num_stages), endpoint=True)

    def decode(self, codes: np.ndarray) -> Subnet:
        """The subnet of one row."""
        stages = codes.reshape(self.num_stages, self.max_depth)
        blocks = ([self.choices[int(code) - 1] for code in row if code != ABSENT] for row in stages)
        return Subnet(tuple(map(tuple, blocks)), self.family)


@functools.cache
def encoding_of(family: Family) -> Encoding:
    """The encoding of a family."""
    pairs = itertools.product(family.kernels, family.expands)
    choices = tuple(BlockChoice(kernel, expand) for kernel, expand in pairs)
    codes = np.full((max(family.kernels) + 1, max(family.expands) + 1), ABSENT, dtype=np.uint8)
    for code, choice in enumerate(choices, start=1):
        codes[choice.kernel, choice.expand] = code
    num_slots = len(family.stages) * family.max_depth
    powers = [pow(0x9E3779B97F4A7C15, power, 2**64) for power in range(1, num_slots + 2)]
    return Encoding(family, choices, codes, np.array(powers, dtype=np.uint64))


@dataclass(frozen=True, slots=True)
class Population:
    """Many architectures of one family at once.

    Attributes:
        codes: uint8 (N, slots), a block code for each slot.
        resolution_index: intp (N,), into `resolutions`.
        resolutions: in pixels.
    """

    codes: np.ndarray
    resolution_index: np.ndarray
    resolutions: tuple[int, ...]
    family: Family = MOBILENETV3

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: np.ndarray | slice) -> Population:
        """The architectures of these rows."""
        return self.replaced(self.codes[rows], self.resolution_index[rows])

    def replaced(self, codes: np.ndarray, resolution_index: np.ndarray) -> Population:
        """Other architectures of the same family, by the same list of resolutions."""
        return Population(codes, resolution_index, self.resolutions, self.family)

    @property
    def encoding(self) -> Encoding:
        """How the rows are to be read."""
        return encoding_of(self.family)

    def architecture(self, row: int) -> Architecture:
        """The architecture of one row."""
        resolution = self.resolutions[int(self.resolution_index[row])]
        return Architecture(self.encoding.decode(self.codes[row]), resolution)

    def keys(self) -> np.ndarray:
        """A 64-bit hash of each row, uint64 (N,): equal for equal architectures.

        Different ones share a hash with a chance of about 2^-64.
        """
        multipliers = self.encoding.multipliers
        return (
            self.codes @ multipliers[:-1]
            + self.resolution_index.astype(np.uint64) * multipliers[-1]
        )


def encode(
    architectures: Iterable[Architecture],
    resolutions: Sequence[int],
    family: Family = MOBILENETV3,
) -> Population:
    """The rows of these architectures, all of `family`.

    Raises:
        UserError: if an architecture's resolution is not one of `resolutions`.
        ValueError: if one is of another family.
    """
    listed = list(architectures)
    if {architecture.subnet.family for architecture in listed} - {family}:
        raise ValueError(f"architectures of another family than {family}")
    index_of = {resolution: index for index, resolution in enumerate(resolutions)}
    unknown = {a.resolution for a in listed} - set(index_of)
    if unknown:
        raise UserError(f"no resolution {sorted(unknown)} here, only {list(resolutions)}")
    encoding = encoding_of(family)
    stages = [blocks for architecture in listed for blocks in architecture.subnet.stages]
    kernels = [block.kernel for blocks in stages for block in blocks]
    expands = [block.expand for blocks in stages for block in blocks]
    depths = np.array([len(blocks) for blocks in stages], dtype=np.intp)
    codes = np.full((len(stages), encoding.max_depth), ABSENT, dtype=np.uint8)
    codes[np.arange(encoding.max_depth) < depths[:, None]] = encoding.codes[kernels, expands]
    return Population(
        codes=codes.reshape(-1, encoding.num_slots),
        resolution_index=np.array([index_of[a.resolution] for a in listed], dtype=np.intp),
        resolutions=tuple(resolutions),
        family=family,
    )


@functools.cache
def compound_architectures(
    resolution: int, family: Family = MOBILENETV3
) -> tuple[Architecture, ...]:
    """The compound architectures at one resolution, in the order of their names."""
    return tuple(Architecture(subnet, resolution) for subnet in compound_subnets(family))


@functools.cache
def _compound_codes(family: Family) -> np.ndarray:
    codes = encode(compound_architectures(224, family), (224,), family).codes
    codes.flags.writeable = False
    return codes


def compound_population(resolutions: Sequence[int], family: Family = MOBILENETV3) -> Population:
    """Every compound architecture, for each resolution in the order of their names."""
    one = _compound_codes(family)
    return Population(
        codes=np.tile(one, (len(resolutions), 1)),
        resolution_index=np.repeat(np.arange(len(resolutions)), len(one)),
        resolutions=tuple(resolutions),
        family=family,
    )
