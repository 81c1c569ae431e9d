"""What fixes a supernet: width, classes, kernels of the shared weights, and how they shrink."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fofa.space import NetworkConfig, SearchSpace, SpaceKind
from fofa.space.subnet import KERNELS, NUM_STAGES, STAGE_KERNELS

KernelMode = Literal["fixed", "centre", "transform"]
"""How a kernel smaller than the shared weight is made.

`fixed`: it never is (fOFA: weights are 3x3 and 5x5). `centre`: the centre of the larger kernel
(CompOFA, shared weights 7x7). `transform`: the centre through a learned matrix (OFA).
"""


class SupernetConfig(BaseModel):
    """Everything needed to build a supernet's modules; stored with its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: SpaceKind = "compound"
    width_mult: float = Field(default=1.0, gt=0, le=16)
    num_classes: int = Field(default=1000, ge=2)
    max_kernels: tuple[int, ...] = Field(
        default=STAGE_KERNELS, min_length=NUM_STAGES, max_length=NUM_STAGES
    )
    kernel_mode: KernelMode = "fixed"
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _check_kernels(self) -> SupernetConfig:
        """The shared kernels must offer every kernel of the space."""
        if any(kernel not in KERNELS for kernel in self.max_kernels):
            raise ValueError(f"max_kernels {list(self.max_kernels)}: expected values of {KERNELS}")
        largest = (max(KERNELS),) * NUM_STAGES
        if self.kind == "elastic" and (self.max_kernels != largest or self.kernel_mode == "fixed"):
            raise ValueError(
                f"an elastic supernet needs max_kernels {list(largest)} and kernel_mode 'centre' "
                "or 'transform'"
            )
        fits = all(k >= needed for k, needed in zip(self.max_kernels, STAGE_KERNELS, strict=True))
        if not fits or (self.kernel_mode == "fixed" and self.max_kernels != STAGE_KERNELS):
            raise ValueError(
                f"max_kernels {list(self.max_kernels)} with kernel_mode {self.kernel_mode!r} does "
                f"not offer the kernels {list(STAGE_KERNELS)} of the compound space"
            )
        return self

    @property
    def network(self) -> NetworkConfig:
        """Width and classes, as the space's functions take them."""
        return NetworkConfig(width_mult=self.width_mult, num_classes=self.num_classes)

    def space(self, resolutions: tuple[int, ...]) -> SearchSpace:
        """The search space that the supernet covers at these resolutions."""
        return SearchSpace(kind=self.kind, width_mult=self.width_mult, resolutions=resolutions)
