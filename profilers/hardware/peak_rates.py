"""Published peak figures of hardware that one may not have (`peak_rates.yaml`)."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from fofa.accuracy import Positive
from fofa.errors import UserError

Dtype = Literal["fp32", "tf32", "fp16"]
HARDWARE_FILE = Path(__file__).with_name("peak_rates.yaml")


class Hardware(BaseModel):
    """What a data sheet says. Rates of a CPU are those of one core; see the file's head."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    product: str
    kind: Literal["gpu", "cpu"]
    matrix_tflops: dict[Dtype, Positive]
    vector_tflops: dict[Dtype, Positive]
    memory_gb_per_s: Positive
    source: str
    aliases: tuple[str, ...] = ()
    cores: Annotated[int, Field(ge=1)] = 1
    multiprocessors: Annotated[int, Field(ge=1)] = 1
    half_rate_sums: bool = False
    embedded: bool = False

    def check_dtype(self, dtype: str) -> Dtype:
        """`dtype`, if the hardware computes it.

        Raises:
            UserError: naming the dtypes that it does compute.
        """
        for known in self.matrix_tflops:
            if known == dtype:
                return known
        raise UserError(
            f"{self.product}: no published rate for dtype {dtype!r}, "
            f"only {', '.join(self.matrix_tflops)}"
        )


@functools.cache
def known_hardware() -> tuple[Hardware, ...]:
    """Every record of the file, in its order."""
    records = yaml.safe_load(HARDWARE_FILE.read_text(encoding="utf-8"))
    return tuple(TypeAdapter(list[Hardware]).validate_python(records))


def find_hardware(name: str) -> Hardware:
    """The hardware called `name`, or that a device of this name stands for.

    Raises:
        UserError: listing what is known.
    """
    for hardware in known_hardware():
        if name == hardware.name or name in hardware.aliases:
            return hardware
    known = ", ".join(hardware.name for hardware in known_hardware())
    raise UserError(f"no published figures for {name!r}, only for {known} (--source NAME)")
