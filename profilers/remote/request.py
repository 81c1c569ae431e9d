"""What is asked of another machine: options, and the request as plan.json and samples carry it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fofa.accuracy import SpaceRecord
from fofa.errors import UserError
from fofa.latency import MAX_BATCH_SIZE
from fofa.precision import short_precision
from fofa.runtime.graph import BUILT_TYPES
from fofa.space import NetworkConfig
from profilers.hardware.cores import numbers_in
from profilers.hardware.devices import find_device
from profilers.measuring.settings import MeasureSettings
from profilers.plugin import MAX_THREADS, PluginOptions
from profilers.tables.measured import LutRequest

PLUGIN = "onnxruntime"
"""The runtime that the agent has; tables name it as they do here."""
OPTIONS = ("cores", "python")
FIXED = {"pin": "on", "binding": "off", "spinning": "on"}
"""What the agent does as the plugin here does by default; options that ask for it are met."""
LABEL = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MAX_CORE = 4095
MAX_RESOLUTIONS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOptions:
    """How the agent measures.

    Attributes:
        cores: a list such as `4-7`; None for as many free, fast ones as there are threads.
        python: the interpreter on the machine, a path or a name.
    """

    batch_size: int = 1
    dtype: str = "fp32"
    threads: int = 1
    cores: str | None = None
    python: str = "python3"

    @classmethod
    def of(cls, options: PluginOptions) -> RemoteOptions:
        """What a person chose, completed.

        Raises:
            UserError: naming the option that is not possible.
        """
        dtype = short_precision(options.dtype or "fp32")
        batch_size = 1 if options.batch_size is None else options.batch_size
        threads = 1 if options.threads is None else options.threads
        if dtype not in BUILT_TYPES:
            raise UserError(
                f"another machine: dtype {dtype!r}, expected one of {', '.join(BUILT_TYPES)}"
            )
        if batch_size < 1 or threads < 1:
            raise UserError(f"batch size {batch_size} and {threads} threads: expected 1 or more")
        if options.source is not None:
            raise UserError("a machine that is measured takes no --source")
        extra = dict(options.extra.items() - FIXED.items())
        if unknown := sorted(extra.keys() - set(OPTIONS)):
            raise UserError(
                f"unknown options {', '.join(unknown)}; known elsewhere: {', '.join(OPTIONS)}"
            )
        cores = extra.get("cores")
        if cores is not None and (fault := _fault_in_cores(cores, threads)):
            raise UserError(f"--option cores={cores}: {fault}")
        python = extra.get("python", "python3")
        if not python or python.startswith("-") or not python.isprintable():
            raise UserError(f"--option python={python!r}: expected the path of an interpreter")
        return cls(batch_size=batch_size, dtype=dtype, threads=threads, cores=cores, python=python)


class RequestRecord(BaseModel):
    """A `LutRequest` as it travels. The copy that comes back is checked like anything else."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: Annotated[str, Field(pattern=LABEL)]
    space: SpaceRecord
    num_classes: Annotated[int, Field(ge=2, le=1_000_000)]
    batch_size: Annotated[int, Field(ge=1, le=MAX_BATCH_SIZE)]
    dtype: Literal["fp32", "fp16", "int8"]
    threads: Annotated[int, Field(ge=1, le=MAX_THREADS)]
    settings: dict[str, Annotated[float, Field(allow_inf_nan=False, ge=0, le=1e9)]]

    @classmethod
    def of(cls, request: LutRequest, options: RemoteOptions) -> RequestRecord:
        """The record of a request."""
        return cls.model_validate(
            {
                "device": request.device.name,
                "space": SpaceRecord.of(request.space).model_dump(mode="json"),
                "num_classes": request.config.num_classes,
                "batch_size": options.batch_size,
                "dtype": options.dtype,
                "threads": options.threads,
                "settings": asdict(request.settings),
            }
        )

    def request(self) -> LutRequest:
        """The request that is recorded.

        Raises:
            UserError: if the parts do not go together.
        """
        kinds = {field.name: field.type for field in fields(MeasureSettings)}
        if self.settings.keys() != kinds.keys():
            raise UserError("settings of another version of fofa")
        if len(self.space.resolutions) > MAX_RESOLUTIONS:
            raise UserError(f"more than {MAX_RESOLUTIONS} resolutions")
        settings: dict[str, Any] = {
            name: int(value) if kinds[name] == "int" else float(value)
            for name, value in self.settings.items()
        }
        space = self.space.space()
        try:
            config = NetworkConfig(
                family=space.family, width_mult=space.width_mult, num_classes=self.num_classes
            )
        except ValueError as error:
            raise UserError(str(error)) from None
        return LutRequest(
            device=find_device(self.device, plugins=[PLUGIN], plugin=PLUGIN),
            space=space,
            config=config,
            options=PluginOptions(
                batch_size=self.batch_size, dtype=self.dtype, threads=self.threads
            ),
            settings=MeasureSettings(**settings),
        )


def device_label(name: str) -> str:
    """A name that a table may carry, made of any text, such as the name of a file."""
    label = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:64]
    return label or "remote"


def _fault_in_cores(text: str, threads: int) -> str | None:
    """What is wrong with a list of cores, None if nothing."""
    if not re.fullmatch(r"[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?){0,63}", text):
        return "expected a list such as 4-7 or 0,2"
    numbers = numbers_in(text)
    if max(numbers, default=MAX_CORE + 1) > MAX_CORE:
        return f"expected cores up to {MAX_CORE}"
    if len(set(numbers)) < threads:
        return f"fewer cores than the {threads} threads"
    return None
