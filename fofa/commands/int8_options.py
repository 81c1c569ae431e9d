"""The options of int8, the same for every program that makes int8 networks."""

from __future__ import annotations

from typing import Annotated

import typer

RangeImages = Annotated[
    int,
    typer.Option(
        "--quantisation-images",
        min=1,
        help="Training images that set the ranges of int8 activations.",
    ),
]
Calibration = Annotated[
    str,
    typer.Option(
        help="Ranges of int8 activations: minmax, all that the images show; or percentile, 99.99 "
        "percent of it, or percentile:99.9."
    ),
]
Granularity = Annotated[
    str, typer.Option(help="An int8 weight's scale: for each output channel, or tensor.")
]
FloatParts = Annotated[
    str,
    typer.Option(
        help="Layers of an int8 network that stay in float: some of first, last, squeeze, h_swish, "
        "joined by +; or none."
    ),
]
DEFAULT_RANGE_IMAGES = 200
DEFAULT_CALIBRATION, DEFAULT_GRANULARITY, DEFAULT_FLOAT_PARTS = "minmax", "channel", "none"
