"""What fixes a supernet: family, width, classes, the shared kernels, and how they shrink."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from fofa.families import WithFamily
from fofa.space import NetworkConfig, SearchSpace, SpaceKind, Subnet

KernelMode = Literal["fixed", "centre", "transform"]
"""How a kernel smaller than the shared weight is made.

`fixed`: it never is (fOFA: weights are 3x3 and 5x5). `centre`: the centre of the larger kernel
(CompOFA, shared weights 7x7). `transform`: the centre through a learned matrix (OFA).
"""


class SupernetConfig(WithFamily):
    """Everything needed to build a supernet's modules; stored with its weights.

    `max_kernels` are those of the shared weights by stage; by default the compound space's.
    """

    kind: SpaceKind = "compound"
    width_mult: float = Field(default=1.0, gt=0, le=16)
    num_classes: int = Field(default=1000, ge=2)
    max_kernels: tuple[int, ...] = ()
    kernel_mode: KernelMode = "fixed"
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _check_kernels(self) -> SupernetConfig:
        """The shared kernels must offer every kernel of the space."""
        family = self.family
        if not self.max_kernels:
            object.__setattr__(self, "max_kernels", family.compound_kernels)
        if len(self.max_kernels) != len(family.stages):
            raise ValueError(
                f"max_kernels {list(self.max_kernels)}: expected {len(family.stages)} values, one "
                f"for each stage of {family}"
            )
        if any(kernel not in family.kernels for kernel in self.max_kernels):
            raise ValueError(
                f"max_kernels {list(self.max_kernels)}: expected values of {family.kernels}"
            )
        largest = (family.kernels[-1],) * len(family.stages)
        if self.kind == "elastic" and (self.max_kernels != largest or self.kernel_mode == "fixed"):
            raise ValueError(
                f"an elastic supernet needs max_kernels {list(largest)} and kernel_mode 'centre' "
                "or 'transform'"
            )
        needed = family.compound_kernels
        fits = all(k >= least for k, least in zip(self.max_kernels, needed, strict=True))
        if not fits or (self.kernel_mode == "fixed" and self.max_kernels != needed):
            raise ValueError(
                f"max_kernels {list(self.max_kernels)} with kernel_mode {self.kernel_mode!r} does "
                f"not offer the kernels {list(needed)} of the compound space"
            )
        return self

    @property
    def largest(self) -> Subnet:
        """The full-sized subnet, which has the shared weights' own kernels."""
        return Subnet.largest(self.family, self.kind, self.max_kernels)

    @property
    def network(self) -> NetworkConfig:
        """Family, width and classes, as the space's functions take them."""
        return NetworkConfig(
            family=self.family, width_mult=self.width_mult, num_classes=self.num_classes
        )

    def space(self, resolutions: tuple[int, ...]) -> SearchSpace:
        """The search space that the supernet covers at these resolutions."""
        return SearchSpace(
            family=self.family,
            kind=self.kind,
            width_mult=self.width_mult,
            resolutions=resolutions,
        )
