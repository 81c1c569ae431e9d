"""What an evaluation measures, cut into units of work."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from fofa.errors import UserError
from fofa.precision import Precision
from fofa.runtime.int8 import Quantisation
from fofa.space import Architecture, NetworkConfig, SearchSpace, Subnet
from fofa.supernet.prefix_tree import prefix_tree


@dataclass(frozen=True, slots=True)
class Unit:
    """Subnets that are measured together at one resolution, sharing what they have in common."""

    resolution: int
    subnets: tuple[Subnet, ...]

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        return tuple(Architecture(subnet, self.resolution) for subnet in self.subnets)

    def macs(self, config: NetworkConfig) -> int:
        """Multiply-adds of one pass of one image."""
        return prefix_tree(self.subnets).macs(self.resolution, config)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole evaluation.

    Attributes:
        batch_size: images of a batch that recalibrates, and which the statistics depend on.
        test_batch_size: images that are counted at once; by default as many.
        limit: only so many of the test images; None for all.
        bf16: whether convolutions and linear layers run in bfloat16 (autocast).
        outcomes: whether to keep which image each architecture got right.
        int8: where networks are quantised, how; convolutions then run in float32.
    """

    units: tuple[Unit, ...]
    batch_size: int
    calibration_images: int
    test_batch_size: int | None = None
    limit: int | None = None
    bf16: bool = False
    outcomes: bool = False
    int8: Quantisation | None = None

    @property
    def precision(self) -> Precision:
        """What networks are evaluated in."""
        if self.int8 is not None:
            return "int8"
        return "bf16" if self.bf16 else "fp32"

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        return tuple(a for unit in self.units for a in unit.architectures)

    @property
    def tested_at_once(self) -> int:
        """Images of a batch that is counted."""
        return self.test_batch_size or self.batch_size

    def settings(self) -> dict[str, str | int | None]:
        """What must agree for an interrupted evaluation to be continued."""
        names = "\n".join(
            " ".join(architecture.name for architecture in unit.architectures)
            for unit in self.units
        )
        kept: dict[str, str | int | None] = {"outcomes": "kept"} if self.outcomes else {}
        if self.tested_at_once != self.batch_size:
            kept["test batch size"] = self.tested_at_once
        if self.int8 is not None:
            kept["int8"] = self.int8.text
        return kept | {
            "architectures": hashlib.sha256(names.encode()).hexdigest(),
            "batch size": self.batch_size,
            "calibration images": self.calibration_images,
            "limit": self.limit,
            "precision": self.precision,
        }


def plan_units(
    space: SearchSpace, named: Sequence[Architecture] = (), *, one_at_a_time: bool = False
) -> tuple[Unit, ...]:
    """Units for the named architectures, or for all compound subnets at the space's resolutions.

    One unit for each resolution, or for each architecture with `one_at_a_time`.

    Raises:
        UserError: if an architecture is not of the space's kind, or is named twice.
    """
    for architecture in named:
        if architecture.subnet not in space:
            raise UserError(f"{architecture} is not in the {space.kind} space of this run")
    architectures = list(named) or list(space.architectures())
    if len(set(architectures)) < len(architectures):
        raise UserError("an architecture is named twice")
    if one_at_a_time:
        return tuple(Unit(a.resolution, (a.subnet,)) for a in architectures)
    by_resolution: dict[int, list[Subnet]] = {}
    for architecture in architectures:
        by_resolution.setdefault(architecture.resolution, []).append(architecture.subnet)
    return tuple(Unit(r, tuple(by_resolution[r])) for r in sorted(by_resolution))
