"""The latency look-up table (LUT): its file format and how an architecture is looked up.

Tables are measured by the package `profilers`; the format lives here because search reads it.
The latency of an architecture is `scale * (sum of its blocks) + offset_ms`, with the calibration
of its resolution (scale 1, offset 0 where there is none). A block that is not in the table is an
error that names it, never zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from fofa.accuracy import NonNegative, Positive, SpaceRecord
from fofa.errors import UserError
from fofa.files import FileModel
from fofa.precision import short_precision
from fofa.space import Architecture, BlockKey, BlockSpec, SearchSpace
from fofa.space.family import ALL_KERNELS, MAX_EXPAND, MAX_STAGES

Finite = Annotated[float, Field(allow_inf_nan=False)]
Method = Literal["measured", "published", "estimated"]


class DeviceRecord(BaseModel):
    """The device that was asked for and the hardware that was there.

    `measured_on` holds the captured environment (CPU or GPU model and so on); `matches` is None
    where nothing was expected or nothing was run (published and estimated tables).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    requested: str
    measured_on: dict[str, Any]
    matches: bool | None

    @property
    def hardware(self) -> str | None:
        """Name of the processor it ran on, GPU before CPU; None where the record has none."""
        for part, key in (("gpu", "name"), ("cpu", "model")):
            record = self.measured_on.get(part)
            name = record.get(key) if isinstance(record, dict) else None
            if isinstance(name, str) and name:
                return name
        return None


class ProtocolRecord(BaseModel):
    """How it was measured. Tables whose protocols differ are not mixed.

    `dtype` is a number type (`fofa.precision`; older words are read as today's) or a plugin's own.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    plugin: str
    runtime: str
    dtype: Annotated[str, AfterValidator(short_precision)] | None
    batch_size: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=1)] | None = None


class LutEntry(BaseModel):
    """Latency of one block at one resolution, in milliseconds for the whole batch.

    `latency_ms` is the block's share of a network; `alone_ms`, where it was measured, is the time
    of the block run by itself, and `mad_ms` and `samples` are those of that time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    resolution: Annotated[int, Field(ge=8, le=4096)]
    position: Literal["stem", "first", "stage", "head"]
    stage: Annotated[int, Field(ge=1, le=MAX_STAGES)] | None = None
    block: Literal["first", "later"] | None = None
    kernel: int | None = None
    expand: int | None = None
    shape: dict[str, Any] = Field(default_factory=dict)
    latency_ms: Positive
    alone_ms: Positive | None = None
    mad_ms: NonNegative | None = None
    samples: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _check_key(self) -> LutEntry:
        if self.position != "stage":
            return self
        if self.stage is None or self.block is None:
            raise ValueError("a stage entry needs a stage (from 1) and a block (first or later)")
        if self.kernel not in ALL_KERNELS or not 1 <= (self.expand or 0) <= MAX_EXPAND:
            raise ValueError(
                f"a stage entry needs a kernel of {ALL_KERNELS} and an expand of 1 to "
                f"{MAX_EXPAND}, got {self.kernel} and {self.expand}"
            )
        return self

    @classmethod
    def of(
        cls,
        block: BlockSpec,
        latency_ms: float,
        *,
        resolution: int,
        alone_ms: float | None = None,
        mad_ms: float | None = None,
        samples: int | None = None,
    ) -> LutEntry:
        """The entry of `block` in networks of `resolution` pixels."""
        key = block.key
        return cls(
            resolution=resolution,
            position=key.position,
            stage=key.stage,
            block=key.block,
            kernel=key.kernel,
            expand=key.expand,
            shape=block.shape(),
            latency_ms=latency_ms,
            alone_ms=alone_ms,
            mad_ms=mad_ms,
            samples=samples,
        )

    @property
    def key(self) -> BlockKey:
        """Where the entry is looked up; outside the stages only the position counts."""
        if self.position != "stage":
            return BlockKey(self.position)
        return BlockKey(self.position, self.stage, self.block, self.kernel, self.expand)


class Calibration(BaseModel):
    """Correction of the sum of blocks at one resolution, fitted on whole networks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: Positive
    offset_ms: Finite


class EstimateError(BaseModel):
    """What is known of the error of an estimated table: nobody has measured this hardware for it.

    The percentages of the `Validation` that holds it are over published latencies of the same
    runtime class and type, each estimated without any measurement of its own hardware.

    Attributes:
        factor: what the model's time was multiplied by to agree with the published ones.
        bias_percent: by how much the estimates are too high in the middle.
        low_factor, high_factor: times an estimate, the ends of its 90% interval.
        inside_interval_percent: how many of the published ones lay inside.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["leave-one-hardware-out"] = "leave-one-hardware-out"
    runtime_class: str
    factor: Positive
    measurements: Annotated[int, Field(ge=1)]
    hardware: list[str]
    bias_percent: Finite
    low_factor: Positive
    high_factor: Positive
    inside_interval_percent: Annotated[float, Field(ge=0, le=100)]


class Validation(BaseModel):
    """Error of the table on whole networks that calibration never saw. Percentages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    networks: Annotated[int, Field(ge=1)]
    mape_percent: NonNegative
    max_percent: NonNegative
    within_5_percent: Annotated[float, Field(ge=0, le=100)]
    within_10_percent: Annotated[float, Field(ge=0, le=100)]
    kendall_tau: Annotated[float, Field(ge=-1, le=1)] | None
    noise_percent: NonNegative
    estimate: EstimateError | None = None


class Stability(BaseModel):
    """Whether the measurement can be trusted, and every reason against it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stable: bool
    reasons: list[str] = Field(default_factory=list)


class Lut(FileModel):
    """A device's latency table (schema `fofa.lut/1`)."""

    SCHEMA: ClassVar[str] = "fofa.lut"
    VERSION: ClassVar[int] = 1

    device: DeviceRecord
    method: Method
    protocol: ProtocolRecord
    space: SpaceRecord
    entries: list[LutEntry] = Field(min_length=1)
    calibration: dict[str, Calibration] = Field(default_factory=dict)
    validation: Validation | None = None
    stability: Stability | None = None
    created: str | None = None
    source: str | None = None
    raw_samples: str | None = None

    @model_validator(mode="after")
    def _check_consistent(self) -> Lut:
        resolutions, family = set(self.space.resolutions), self.space.family
        seen = set()
        for entry in self.entries:
            if entry.resolution not in resolutions:
                raise ValueError(
                    f"an entry has resolution {entry.resolution}, not one of the space's"
                )
            if entry.stage is not None and entry.stage > len(family.stages):
                raise ValueError(
                    f"an entry is of stage {entry.stage}, but {family} has {len(family.stages)}"
                )
            if (entry.resolution, entry.key) in seen:
                raise ValueError(f"entry {entry.key} at {entry.resolution} px comes twice")
            seen.add((entry.resolution, entry.key))
        for name in self.calibration:
            if not name.isascii() or not name.isdigit() or int(name) not in resolutions:
                raise ValueError(f"calibration for {name!r}, which is not one of the resolutions")
        return self

    @property
    def search_space(self) -> SearchSpace:
        """The space whose blocks the table covers."""
        return self.space.space()

    @property
    def num_classes(self) -> int | None:
        """Classes of the networks that were timed; None where the table does not say."""
        heads = (entry.shape for entry in self.entries if entry.position == "head")
        found = next((shape["num_classes"] for shape in heads if "num_classes" in shape), None)
        return found if isinstance(found, int) else None

    @property
    def error_percent(self) -> float | None:
        """The table's own error on whole networks, in percent; None if it was never validated.

        The larger of its mean absolute percentage error on held-out networks and its noise floor
        (the same network timed twice): below the noise, a small error is luck.
        """
        if self.validation is None:
            return None
        return max(self.validation.mape_percent, self.validation.noise_percent)

    @property
    def margin_percent(self) -> float | None:
        """By how much a network may be slower than predicted; None if that was never looked at.

        Of an estimate the upper end of its interval, which one in twenty goes beyond.
        """
        estimate = self.validation.estimate if self.validation else None
        return self.error_percent if estimate is None else 100 * (estimate.high_factor - 1)

    @property
    def instability(self) -> str | None:
        """Why the latencies cannot be trusted; None where nothing is known against them."""
        if self.stability is None or self.stability.stable:
            return None
        return "; ".join(self.stability.reasons) or "no reason recorded"

    @property
    def drift_percent(self) -> float | None:
        """By how much the machine's speed varied while it was measured; None if not recorded."""
        record = self.device.measured_on.get("measurement")
        drift = record.get("drift_percent") if isinstance(record, dict) else None
        return float(drift) if isinstance(drift, int | float) else None

    @cached_property
    def _blocks(self) -> dict[tuple[int, BlockKey], float]:
        return {(entry.resolution, entry.key): entry.latency_ms for entry in self.entries}

    def block_ms(self, resolution: int, key: BlockKey) -> float:
        """Share of one block in a network, before calibration.

        Raises:
            UserError: naming the block and the device, if the table has no such entry.
        """
        try:
            return self._blocks[resolution, key]
        except KeyError:
            if resolution not in self.space.resolutions:
                raise UserError(
                    f"the table of {self.device.requested} has no resolution {resolution}, "
                    f"only {self.space.resolutions}"
                ) from None
            raise UserError(
                f"the table of {self.device.requested} has no entry for {key} at {resolution} px"
            ) from None

    def sum_ms(self, architecture: Architecture) -> float:
        """Sum of the architecture's blocks, before calibration."""
        return sum(self.block_ms(architecture.resolution, key) for key in block_keys(architecture))

    def latency_ms(self, architecture: Architecture) -> float:
        """Predicted latency of a batch, calibrated."""
        total_ms = self.sum_ms(architecture)
        correction = self.calibration.get(str(architecture.resolution))
        if correction is None:
            return total_ms
        return correction.scale * total_ms + correction.offset_ms

    def latencies_ms(self, architectures: Iterable[Architecture]) -> np.ndarray:
        """Predicted latency of each architecture, as a float64 vector."""
        return np.array([self.latency_ms(architecture) for architecture in architectures])


def block_keys(architecture: Architecture) -> list[BlockKey]:
    """Where each of the architecture's blocks is looked up, stem to head."""
    keys = [BlockKey("stem"), BlockKey("first")]
    for stage, blocks in enumerate(architecture.subnet.stages, start=1):
        for index, choice in enumerate(blocks):
            order: Literal["first", "later"] = "first" if index == 0 else "later"
            keys.append(BlockKey("stage", stage, order, choice.kernel, choice.expand))
    keys.append(BlockKey("head"))
    return keys


def required_keys(space: SearchSpace) -> list[BlockKey]:
    """Every block key that a table of `space` must have at each resolution."""
    return [BlockKey("stem"), BlockKey("first"), BlockKey("head"), *space.stage_keys()]
