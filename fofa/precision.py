"""How number types are called in commands and files: `fp32`, `fp16`, `bf16`, `int8`.

Files and scripts from before say `float32` and the like, which is still read. No torch here: what a
name means to a runtime is the runtime's matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

from fofa.errors import UserError

Precision = Literal["fp32", "fp16", "bf16", "int8"]
_Allowed = TypeVar("_Allowed", bound=str)


def short_precision(name: str) -> str:
    """`fp32` for `float32` and so on; any other name, such as a plugin's own, as it is."""
    longer: dict[str, Precision] = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
    return longer.get(name, name)


def parse_precision(name: str, allowed: Sequence[_Allowed], *, option: str = "--dtype") -> _Allowed:
    """The value of an option that takes one of the number types in `allowed`.

    Raises:
        UserError: naming the option and what it takes.
    """
    short = short_precision(name)
    for precision in allowed:
        if precision == short:
            return precision
    raise UserError(f"{option} {name!r}: expected one of {', '.join(allowed)}")
