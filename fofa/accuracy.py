"""The accuracy-table file: what `fofa-eval` writes, and search and bench read."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from fofa.errors import UserError
from fofa.families import WithFamily
from fofa.files import FileModel
from fofa.space import (
    MOBILENETV3,
    Architecture,
    Family,
    NetworkConfig,
    SearchSpace,
    check_resolutions,
    macs,
    parse_architecture,
)

Fraction = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=2**53)]
"""Of operations or weights; beyond that, numpy could not calculate with them."""


class SpaceRecord(WithFamily):
    """A search space as files record it."""

    kind: Literal["compound", "elastic"]
    width_mult: Annotated[float, Field(gt=0, le=16)]
    resolutions: list[Annotated[int, Field(ge=8, le=4096)]] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_resolutions(self) -> SpaceRecord:
        check_resolutions(self.resolutions)
        return self

    @classmethod
    def of(cls, space: SearchSpace) -> SpaceRecord:
        """The record of a search space."""
        return cls(
            family=space.family,
            kind=space.kind,
            width_mult=space.width_mult,
            resolutions=list(space.resolutions),
        )

    def space(self) -> SearchSpace:
        """The search space that is recorded."""
        return SearchSpace(
            family=self.family,
            kind=self.kind,
            width_mult=self.width_mult,
            resolutions=tuple(self.resolutions),
        )


CostUnit = Literal["GPU-hours", "core-hours"]


class Pace(BaseModel):
    """How fast the training of another table went: what hours buy there, whatever runs here.

    `images_per_hour` of the training set, with every phase of `recipe` as `preset` has it, in hours
    of `unit` on `device`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str
    preset: str | None
    device: str
    unit: CostUnit
    images_per_hour: Positive

    def __str__(self) -> str:
        return f"{self.images_per_hour:.0f} images in {self.unit} of {self.device}"


class TrainingRecord(BaseModel):
    """How the weights came about. `gpu_hours` is 0 on a CPU, where `core_hours` counts.

    `budget_hours` is the budget that was asked for, in the same unit; what was spent are the hours.
    With a `pace`, the budget is of hours at that pace, and the hours are those of this machine.
    `wall_hours` are those by the clock, with what came beside training (validation). On a GPU,
    `tf32` says whether float32 was computed as TF32, `cudnn_benchmark` whether cuDNN chose its
    algorithms by trying them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: NonNegative
    gpu_hours: NonNegative
    device: str
    images_per_second: NonNegative
    seed: int
    core_hours: NonNegative | None = None
    budget_hours: Positive | None = None
    pace: Pace | None = None
    wall_hours: NonNegative | None = None
    epoch_scale: Positive | None = None
    train_images: int | None = None
    precision: str | None = None
    tf32: bool | None = None
    cudnn_benchmark: bool | None = None

    @property
    def spent(self) -> tuple[float, CostUnit]:
        """What training cost: GPU-hours, or core-hours where no GPU was used.

        Of a training at a pace, what it would have cost there.
        """
        if self.pace is not None and self.train_images is not None:
            return self.epochs * self.train_images / self.pace.images_per_hour, self.pace.unit
        if self.gpu_hours > 0:
            return self.gpu_hours, "GPU-hours"
        return self.core_hours or 0.0, "core-hours"

    @property
    def spent_on(self) -> str:
        """The device that `spent` is of."""
        return self.pace.device if self.pace is not None else self.device


class Int8Check(BaseModel):
    """A simulated int8 network beside the exact one: the exported graph in ONNX Runtime.

    Top-1 of both on the same test images, and the share of these that both give the same class, in
    percent.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    test_images: Annotated[int, Field(ge=1)]
    simulated_top1: Fraction
    exact_top1: Fraction
    same_percent: Fraction


class Int8Record(BaseModel):
    """How accuracies in int8 were found, in the words of `fofa-eval`'s options, the training images
    that showed the ranges of activations, and what the simulation was checked against."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calibration: str
    granularity: str
    weight_bits: Annotated[int, Field(ge=7, le=8)] = 8
    float_parts: str
    range_images: Annotated[int, Field(ge=1)]
    checks: list[Int8Check]

    @property
    def error_points(self) -> float | None:
        """The largest difference of a checked network's top-1 from the exact one; None if none."""
        errors = [abs(check.simulated_top1 - check.exact_top1) for check in self.checks]
        return max(errors, default=None)


class EvaluationRecord(BaseModel):
    """What was measured: the split, its size, and the images that recalibrated BatchNorm.

    `precision` is what was computed in; `int8` is there where that is int8.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    calibration_images: Annotated[int, Field(ge=0)]
    test_images: Annotated[int, Field(ge=1)]
    split: str
    precision: str | None = None
    device: str | None = None
    seconds: NonNegative | None = None
    int8: Int8Record | None = None


class ProxyRecord(BaseModel):
    """Says that accuracies at small images stand in for a larger setting.

    With `resolution_scale` 4, the accuracy measured at 40 px may be paired with a latency at
    160 px. Only a table that says so itself is ever paired like that, and every output that uses
    it says so too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    resolution_scale: Annotated[int, Field(ge=2, le=16)]
    reason: str


class ArchitectureAccuracy(BaseModel):
    """One measured architecture; `top1` and `top5` are percentages.

    Its name is of the family of the table that holds it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    top1: Fraction
    top5: Fraction
    macs: Count
    params: Count

    # A factory, as pydantic makes a deep copy of a default for every row.
    _family: Family = PrivateAttr(default_factory=lambda: MOBILENETV3)

    @cached_property
    def architecture(self) -> Architecture:
        """The architecture that `name` names."""
        return parse_architecture(self.name, self._family)

    def in_family(self, family: Family) -> Architecture:
        """The architecture, whose name is of this family from now on."""
        self._family = family
        self.__dict__.pop("architecture", None)
        return self.architecture


class AccuracyTable(FileModel):
    """Measured accuracy of many subnets of one supernet (schema `fofa.accuracy/1`)."""

    SCHEMA: ClassVar[str] = "fofa.accuracy"
    VERSION: ClassVar[int] = 1

    recipe: str
    dataset: str
    preset: str | None = None
    space: SpaceRecord
    training: TrainingRecord
    evaluation: EvaluationRecord
    proxy: ProxyRecord | None = None
    architectures: list[ArchitectureAccuracy] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_architectures(self) -> AccuracyTable:
        space, seen = self.space.space(), set()
        for entry in self.architectures:
            try:
                architecture = entry.in_family(space.family)
            except UserError as error:
                raise ValueError(str(error)) from None
            # By value, as a compound architecture can be named in two ways.
            if architecture in seen:
                raise ValueError(f"architecture {entry.name} comes twice")
            seen.add(architecture)
            if architecture not in space:
                raise ValueError(
                    f"architecture {entry.name} is not in the table's space "
                    f"({space.kind}, resolutions {list(space.resolutions)})"
                )
        return self

    @cached_property
    def network_config(self) -> NetworkConfig:
        """Family, width and classes of the networks; the classes from their multiply-adds, which
        grow by one feature each.

        Raises:
            UserError: if the multiply-adds are those of no such network.
        """
        row, space = self.architectures[0], self.space.space()
        few = NetworkConfig(family=space.family, width_mult=space.width_mult, num_classes=2)
        extra = row.macs - macs(row.architecture, few)
        if extra < 0 or extra % few.feature_channels:
            raise UserError(f"multiply-adds of {row.name} are not those of a network of its width")
        return replace(few, num_classes=2 + extra // few.feature_channels)

    @property
    def dtype(self) -> str:
        """The number type that accuracy was measured in; tables that do not say are of fp32."""
        return self.evaluation.precision or "fp32"

    @property
    def pace(self) -> Pace:
        """The pace that its supernet was trained at.

        Raises:
            UserError: if its cost or its images are not recorded.
        """
        training = self.training
        hours, unit = training.spent
        if not hours or not training.train_images:
            raise UserError("the table does not record what training cost, and on how many images")
        return Pace(
            recipe=self.recipe,
            preset=self.preset,
            device=training.spent_on,
            unit=unit,
            images_per_hour=training.epochs * training.train_images / hours,
        )

    @cached_property
    def mean_top1(self) -> float:
        """Mean top-1 in percent over the subnets at the largest resolution (paper, Table 2)."""
        largest = max(self.space.resolutions)
        values = [a.top1 for a in self.architectures if a.architecture.resolution == largest]
        if not values:
            raise UserError(f"no architecture was measured at {largest} px, the largest resolution")
        return sum(values) / len(values)
