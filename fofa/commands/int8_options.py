"""The options of int8, the same for every program that makes int8 networks."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fofa.runtime.int8 import Int8Scheme

PARAMETER = "int8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Options:
    """What a person chose; a command `with_int8_options` has it as its parameter `int8`."""

    quantisation_images: Annotated[
        int, typer.Option(min=1, help="Training images that set the ranges of int8 activations.")
    ] = 200
    calibration: Annotated[
        str,
        typer.Option(
            help="Ranges of int8 activations: minmax, all that the images show; or percentile, "
            "99.99 percent of it, or percentile:99.9."
        ),
    ] = "minmax"
    granularity: Annotated[
        str, typer.Option(help="An int8 weight's scale: for each output channel, or tensor.")
    ] = "channel"
    weight_bits: Annotated[
        int,
        typer.Option(
            help="Of an int8 weight: 8, or 7 for processors on which 8-bit products overflow (x86 "
            "without VNNI, in ONNX Runtime)."
        ),
    ] = 8
    float_parts: Annotated[
        str,
        typer.Option(
            help="Layers of an int8 network that stay in float: some of first, last, squeeze, "
            "h_swish, joined by +; or none."
        ),
    ] = "none"

    def scheme(self) -> Int8Scheme:
        """How networks are quantised.

        Raises:
            UserError: naming the option that is not possible.
        """
        from fofa.runtime.int8 import parse_scheme

        return parse_scheme(self.calibration, self.granularity, self.float_parts, self.weight_bits)


def with_int8_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options in the place of its parameter `int8`."""
    options = inspect.signature(Int8Options, eval_str=True).parameters
    signature = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        chosen = Int8Options(**{name: given.pop(name) for name in options})
        command(**given, **{PARAMETER: chosen})

    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        parameters += options.values() if parameter.name == PARAMETER else [parameter]
    with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return with_options
