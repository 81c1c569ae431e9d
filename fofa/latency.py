"""The latency look-up table (LUT): its file format and how an architecture is looked up.

Tables are measured by the package `profilers`; the format lives here because search reads it.
The latency of an architecture is `scale * (sum of its blocks) + offset_ms`, with the calibration
of its resolution (scale 1, offset 0 where there is none). A block that is not in the table is an
error that names it, never zero. How far a network may be from that is a sum over its blocks, too:
of the entries' `deviation_ms` (`Lut.bound`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
from fofa.validation import INTERVAL, Bound, Finite, Validation, bound

Method = Literal["measured", "published", "estimated"]

MAX_BATCH_SIZE = 65536
"""Images in a batch, of a table or of an exported file, at the most."""


def processor_name(environment: Mapping[str, Any]) -> str | None:
    """The CPU's name with its vector instructions, which virtual machines' names do not tell."""
    cpu = environment.get("cpu")
    if not isinstance(cpu, Mapping) or not isinstance(cpu.get("model"), str) or not cpu["model"]:
        return None
    vectors = cpu.get("vectors")
    return f"{cpu['model']} ({vectors})" if isinstance(vectors, str) else cpu["model"]


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
        gpu = self.measured_on.get("gpu")
        name = gpu.get("name") if isinstance(gpu, dict) else None
        return name if isinstance(name, str) and name else processor_name(self.measured_on)


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
    of the block run by itself, and `mad_ms` and `samples` are those of that time. `energy_mj` is
    its share of the energy of one image. `deviation_ms` is
    the block's share of the standard deviation of a network's error, calibration applied: the sum
    over a network's blocks is at least that network's own.
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
    deviation_ms: NonNegative | None = None
    alone_ms: Positive | None = None
    mad_ms: NonNegative | None = None
    samples: Annotated[int, Field(ge=0)] | None = None
    energy_mj: Positive | None = None

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
        deviation_ms: float | None = None,
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
            deviation_ms=deviation_ms,
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


class EnergyRecord(BaseModel):
    """How the entries' energies were obtained, and by how much sums of them are off.

    They are of what `source` counts, its idle power included. The energy of a network's image is
    the sum of its entries' `energy_mj` and the resolution's `offset_mj`.

    Attributes:
        idle_watts: what was counted before anything ran.
        window_seconds: each network ran again and again for so long, twice.
        noise_percent: mean difference between the two.
        networks: that were left out of the fit, which the errors are of.
        measured_mj: of an image, by network: all that were measured.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    idle_watts: NonNegative
    window_seconds: Positive
    noise_percent: NonNegative
    networks: Annotated[int, Field(ge=1)]
    mape_percent: NonNegative
    max_percent: NonNegative
    offset_mj: dict[str, Finite]
    measured_mj: dict[str, Positive]


class Stability(BaseModel):
    """Whether the measurement can be trusted, and every reason against it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stable: bool
    reasons: list[str] = Field(default_factory=list)


class Lut(FileModel):
    """A device's latency table (schema `fofa.lut/2`).

    Tables of version 1 hold no deviations and one session's errors; they are read as they are.
    """

    SCHEMA: ClassVar[str] = "fofa.lut"
    VERSION: ClassVar[int] = 2
    UPGRADES: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {1: dict}

    device: DeviceRecord
    method: Method
    protocol: ProtocolRecord
    space: SpaceRecord
    entries: list[LutEntry] = Field(min_length=1)
    calibration: dict[str, Calibration] = Field(default_factory=dict)
    validation: Validation | None = None
    stability: Stability | None = None
    energy: EnergyRecord | None = None
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
        if self.energy is not None:
            if any(entry.energy_mj is None for entry in self.entries):
                raise ValueError("some entries have no energy")
            if self.energy.offset_mj.keys() != {str(resolution) for resolution in resolutions}:
                raise ValueError("the energies' offsets are of other resolutions than the space's")
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

    def bound(self, level: float) -> Bound:
        """What a share `level` (0 to 1) of networks stay below, their drift included.

        Raises:
            UserError: if the table was never validated.
        """
        if self.validation is None:
            raise UserError(
                f"the {self.method} table of {self.device.requested} was not validated on "
                "whole networks, so there is no error to keep a margin of; leave out --margin"
            )
        return bound(self.validation, level, self.drift_percent)

    @property
    def bounds_are_derived(self) -> bool:
        """Whether bounds follow from a mean error, because no second session was measured."""
        known = self.validation
        return known is not None and known.uncertainty is None and known.estimate is None

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

    @cached_property
    def _deviations(self) -> dict[tuple[int, BlockKey], float]:
        return {(entry.resolution, entry.key): entry.deviation_ms or 0.0 for entry in self.entries}

    def block_deviation_ms(self, resolution: int, key: BlockKey) -> float:
        """Share of one block in the standard deviation of a network's error."""
        return self._deviations[resolution, key]

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

    def deviation_ms(self, architecture: Architecture) -> float:
        """Standard deviation of the architecture's error, 0 where the table has none."""
        return sum(
            self._deviations[architecture.resolution, key] for key in block_keys(architecture)
        )

    def interval_ms(
        self, architecture: Architecture, share: float = INTERVAL
    ) -> tuple[float, float] | None:
        """Between what the latency lies for a `share` of networks; None if never validated."""
        if self.validation is None:
            return None
        latency, deviation = self.latency_ms(architecture), self.deviation_ms(architecture)
        low, high = (self.bound(level) for level in ((1 - share) / 2, (1 + share) / 2))
        return (
            max(0.0, low.factor * latency + low.deviations * deviation),
            high.factor * latency + high.deviations * deviation,
        )

    @cached_property
    def _energies(self) -> dict[tuple[int, BlockKey], float]:
        return {(entry.resolution, entry.key): entry.energy_mj or 0.0 for entry in self.entries}

    def block_mj(self, resolution: int, key: BlockKey) -> float:
        """Share of one block in the energy of a network's image, in a table that has energies."""
        self.block_ms(resolution, key)
        return self._energies[resolution, key]

    def energy_mj(self, architecture: Architecture) -> float:
        """Predicted energy of one image.

        Raises:
            UserError: if the table has no energies, or lacks a block.
        """
        resolution = architecture.resolution
        blocks = sum(self.block_mj(resolution, key) for key in block_keys(architecture))
        return blocks + self.known_energy.offset_mj[str(resolution)]

    @property
    def known_energy(self) -> EnergyRecord:
        """The record of the energies.

        Raises:
            UserError: if there are none.
        """
        if self.energy is None:
            raise UserError(
                f"the table of {self.device.requested} has no energies: fofa-profile --energy "
                "measures them, where hardware counts them"
            )
        return self.energy

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
