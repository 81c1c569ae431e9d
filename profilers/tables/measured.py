"""What was measured for a request, in one or more sessions, and the table and files made of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fofa.accuracy import SpaceRecord
from fofa.errors import UserError
from fofa.latency import Lut, ProtocolRecord, processor_name
from fofa.space import NetworkConfig, SearchSpace
from profilers.hardware.devices import Device, ran_on
from profilers.measuring.measurement import Measurement
from profilers.measuring.samples import samples_path, write_samples
from profilers.measuring.settings import MeasureSettings
from profilers.measuring.stability import is_disturbed
from profilers.plugin import PluginOptions
from profilers.tables.assemble import TimedSession, assemble, impossible


class ImpossibleTableError(UserError):
    """What was timed cannot be true; the wish was right, so programs end with exit code 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LutRequest:
    """What table is wanted; `options` are complete, the device's defaults filled in."""

    device: Device
    space: SearchSpace
    config: NetworkConfig = field(default_factory=NetworkConfig)
    options: PluginOptions = field(default_factory=PluginOptions)
    settings: MeasureSettings = field(default_factory=MeasureSettings)

    def check_hardware(
        self, environment: Mapping[str, Any], warn: Callable[[str], None], *, required: bool
    ) -> None:
        """Warn if `environment` is of other hardware than the device's.

        Raises:
            UserError: instead, if the hardware is `required` to be the device's.
        """
        if fault := self.device.mismatch(ran_on(environment)):
            if required:
                raise UserError(f"{fault}; --require-match stops here")
            warn(f"{fault}; the table will say so")

    def identity(self, protocol: ProtocolRecord, environment: Mapping[str, Any]) -> dict[str, Any]:
        """What must be equal for a measurement to be continued."""
        return {
            "device": self.device.name,
            "protocol": protocol.model_dump(mode="json"),
            "space": SpaceRecord.of(self.space).model_dump(mode="json"),
            "num_classes": self.config.num_classes,
            "seed": self.settings.seed,
            "networks": [
                self.settings.calibration_networks,
                self.settings.validation_networks,
                self.settings.repeats,
            ],
            "cpu": processor_name(environment),
            "gpu": (environment.get("gpu") or {}).get("name"),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured for a request: by which protocol, on what, and every session's times.

    Attributes:
        environment: hardware, software and how the measurement went, as the table records them.
        first: the table's own session; `others` tested it.
    """

    request: LutRequest
    protocol: ProtocolRecord
    environment: Mapping[str, Any]
    first: TimedSession
    others: tuple[TimedSession, ...] = ()

    def table(self) -> Lut:
        """The table that follows from it."""
        return assemble(
            self.request.device,
            self.request.space,
            self.request.config,
            self.protocol,
            dict(self.environment),
            self.first,
            self.others,
        )

    def fault(self, lut: Lut) -> str | None:
        """Why the times of its table `lut` cannot be those of networks; None where they can."""
        return impossible(lut, self.first.measurement)

    def with_facts(self, seconds: float, resumed_rounds: int) -> Measured:
        """Its environment completed by how the measurement went."""
        facts = {
            "seconds": seconds,
            "resumed_rounds": resumed_rounds,
            **_facts(self.first.measurement),
            "sessions": [_facts_beside(other, self.first) for other in self.others],
        }
        return dataclasses.replace(self, environment={**self.environment, "measurement": facts})

    def write(self, lut: Lut, out: Path) -> Lut:
        """Write its table `lut` to `out`, raw samples beside it; the table names their file.

        Raises:
            UserError: if a file cannot be written.
        """
        side = samples_path(out)
        identity = self.request.identity(self.protocol, self.environment)
        later = [other.measurement for other in self.others]
        write_samples(side, self.first.measurement.samples_file(identity, later))
        lut = lut.model_copy(update={"raw_samples": side.name})
        lut.write(out)
        return lut


def _facts(measurement: Measurement) -> dict[str, Any]:
    """How a session went, as the table records it."""
    return {
        "rounds": len(measurement.rounds),
        "undisturbed_rounds": sum(not is_disturbed(round_) for round_ in measurement.rounds),
        "warmup_runs": measurement.plan.warmup_runs,
        "drift_percent": round(measurement.drift.canary_percent, 2),
        "residual_drift_percent": round(measurement.drift.residual_percent, 2),
    }


def _facts_beside(other: TimedSession, first: TimedSession) -> dict[str, Any]:
    """How another session went: by resolution, how much slower it was than the table's own."""
    shifts = other.as_seen_from(first).shifts()
    return {
        **_facts(other.measurement),
        "slower_percent": {
            str(resolution): round(100 * math.expm1(shift), 2)
            for resolution, shift in shifts.items()
        },
    }
