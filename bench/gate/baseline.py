"""The baseline file: what was reached, under which limit, and what makes it comparable."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from bench.tables.collect import (
    Collection,
    LutSource,
    Setting,
    SettingResults,
    require_accuracy,
)
from bench.tables.devices import WantedLimits, pair_device
from bench.tables.rows import for_limits
from fofa.accuracy import AccuracyTable, Fraction, NonNegative, Positive
from fofa.errors import UserError
from fofa.families import WithFamily
from fofa.files import FileModel
from fofa.latency import Lut, Method
from fofa.precision import short_precision
from fofa.search.exact import best_within
from fofa.space import parse_architecture


class LutIdentity(WithFamily):
    """What two latency tables must share to be compared; versions of runtimes may differ.

    `num_classes` is not in older baselines, which therefore do not look at it.
    """

    device: str
    method: Method
    hardware: str | None
    plugin: str
    dtype: Annotated[str, AfterValidator(short_precision)] | None
    batch_size: int
    threads: int | None
    width_mult: Positive
    num_classes: int | None = None

    @classmethod
    def of(cls, lut: Lut) -> LutIdentity:
        """The identity of a latency table."""
        protocol = lut.protocol
        return cls(
            device=lut.device.requested,
            method=lut.method,
            hardware=lut.device.hardware,
            plugin=protocol.plugin,
            dtype=protocol.dtype,
            batch_size=protocol.batch_size,
            threads=protocol.threads,
            family=lut.space.family,
            width_mult=lut.space.width_mult,
            num_classes=lut.num_classes,
        )


class AccuracyIdentity(Setting):
    """What two accuracy tables of one recipe and seed must share to be compared.

    What it has beside the setting is not in older baselines, which therefore do not look at it.
    """

    calibration_images: int | None = None
    precision: str | None = None
    budget_hours: Positive | None = None

    @classmethod
    def of(cls, table: AccuracyTable) -> AccuracyIdentity:
        """The identity of an accuracy table."""
        return cls(
            **Setting.of(table).model_dump(),
            calibration_images=table.evaluation.calibration_images,
            precision=table.evaluation.precision,
            budget_hours=table.training.budget_hours,
        )


class LimitRecord(BaseModel):
    """The best architecture within a limit, as it was when the baseline was made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit_ms: Positive
    architecture: str
    top1: Fraction
    latency_ms: Positive


class BaselineEntry(BaseModel):
    """One supernet on one device; `lut_error_percent` is the table's own error at that time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lut: LutIdentity
    lut_error_percent: NonNegative
    recipe: str
    seed: int
    data: AccuracyIdentity
    limits: list[LimitRecord] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_architectures(self) -> BaselineEntry:
        try:
            for limit in self.limits:
                parse_architecture(limit.architecture, self.data.family)
        except UserError as error:
            raise ValueError(str(error)) from None
        return self


class Tolerance(BaseModel):
    """How much may be lost: points of top-1, and percent of latency.

    A latency may also rise by both tables' own errors together, if that is more, where the new
    table's counts for no more than the baseline's did: a worse measurement excuses nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    accuracy_points: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = 0.2
    latency_percent: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 3.0


class Baseline(FileModel):
    """What a gate compares with (schema `fofa.baseline/1`)."""

    SCHEMA: ClassVar[str] = "fofa.baseline"
    VERSION: ClassVar[int] = 1

    tolerance: Tolerance
    results: list[BaselineEntry] = Field(min_length=1)


def measuring_error_percent(lut: Lut) -> float | None:
    """By how much a table may differ when it is measured again; None if it does not say.

    0 for tables that were not measured: they do not change by themselves, whatever their error.
    """
    return lut.error_percent if lut.method == "measured" else 0.0


def make_baseline(
    collection: Collection, wanted: WantedLimits, tolerance: Tolerance
) -> tuple[Baseline, list[str]]:
    """The baseline of everything that was read, and what was left out and why.

    Raises:
        UserError: if nothing could be recorded.
    """
    require_accuracy(collection)
    entries: list[BaselineEntry] = []
    notes: list[str] = []
    for source in collection.luts:
        reason = source.lut.instability
        if reason is not None:
            notes.append(f"{source.path}: left out, the measurement was unstable: {reason}")
            continue
        for setting_results in for_limits(collection.results):
            found, faults = _entries(source, setting_results, wanted)
            entries += found
            notes += faults
    if not entries:
        reason = notes[0] if notes else f"no latency table in {collection.luts_dir} or named"
        raise UserError(f"nothing to record: {reason}")
    return Baseline(tolerance=tolerance, results=entries), notes


def _entries(
    source: LutSource, results: SettingResults, wanted: WantedLimits
) -> tuple[list[BaselineEntry], list[str]]:
    try:
        device = pair_device(source, results, wanted)
    except UserError as error:
        return [], [f"left out: {error}"]
    entries, notes = [], [f"left out: {problem}" for problem in device.problems.values()]
    for accuracy in results.sources:
        candidates = device.candidates.get(accuracy.anchor)
        if candidates is None:
            continue
        limits = []
        for limit in device.limits.values_ms:
            try:
                row = best_within(
                    candidates.top1, candidates.latency_ms, candidates.architectures, limit
                )
            except UserError as error:
                notes.append(f"left out: {source.device}, {accuracy.table.recipe}: {error}")
                continue
            limits.append(
                LimitRecord(
                    limit_ms=limit,
                    architecture=candidates.architectures[row].name,
                    top1=float(candidates.top1[row]),
                    latency_ms=float(candidates.latency_ms[row]),
                )
            )
        if limits:
            entries.append(
                BaselineEntry(
                    lut=LutIdentity.of(source.lut),
                    lut_error_percent=measuring_error_percent(source.lut) or 0.0,
                    recipe=accuracy.table.recipe,
                    seed=accuracy.table.training.seed,
                    data=AccuracyIdentity.of(accuracy.table),
                    limits=limits,
                )
            )
    return entries, notes
