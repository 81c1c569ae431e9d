"""Latency limits: the paper's, limits that mean the same on another device, or a list.

The paper's limits (15, 20, 25, 30 ms on the Note10, ...) mean something only on the paper's own
hardware. `matched` puts four limits at the same shares of the search space as 15, 20, 25 and 30 ms
have on the Note10, so that a limit is as strict on one device as on the other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.tables import paper
from fofa.errors import UserError
from fofa.latency import Lut

Origin = Literal["paper", "matched", "given"]

NOTE10_SPACE_SIZE = 1215
NOTE10_WITHIN = (40, 212, 485, 748)
"""Compound architectures at 160, 176, 192, 208 and 224 px within 15, 20, 25 and 30 ms, and how many
there are, on the Note10 table of OFA (Cai et al., 2020)."""
MATCHED_SHARES = tuple(count / NOTE10_SPACE_SIZE for count in NOTE10_WITHIN)

MATCHED_DIGITS = 4
"""Matched limits are rounded up to this many significant digits, so that they can be retyped."""


@dataclass(frozen=True, slots=True)
class Constraints:
    """What the caller asked for; `origin` None lets each device take its own default."""

    origin: Origin | None = None
    values_ms: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one device, ascending, and where they come from."""

    values_ms: tuple[float, ...]
    origin: Origin


def parse_constraints(text: str | None) -> Constraints:
    """`paper`, `matched`, or limits in milliseconds separated by commas; None for the defaults.

    Raises:
        UserError: if it is none of these.
    """
    if text is None:
        return Constraints()
    if text == "paper":
        return Constraints("paper")
    if text == "matched":
        return Constraints("matched")
    parts = [part.strip() for part in text.split(",")]
    number = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?|\.[0-9]{1,9}", re.ASCII)
    known = all(number.fullmatch(part) for part in parts)
    values = sorted({float(part) for part in parts}) if known else []
    if not values or values[0] <= 0:
        raise UserError(
            f"constraints {text!r}: expected paper, matched, or limits in ms such as 15,20,25.5"
        )
    return Constraints("given", tuple(values))


def default_origin(lut: Lut) -> Origin:
    """`paper` for a table of the paper's own hardware, `matched` for any other."""
    known = paper.device(lut.device.requested) is not None
    own = lut.method == "published" or lut.device.matches is True
    return "paper" if known and own else "matched"


def limits_for(lut: Lut, latencies_ms: Sequence[float], constraints: Constraints) -> Limits:
    """The limits to use with `lut`, whose architectures take `latencies_ms`.

    The paper's limits asked for on a device that the paper does not have become matched ones;
    captions say which limits were used.
    """
    origin = constraints.origin or default_origin(lut)
    if origin == "given":
        return Limits(constraints.values_ms, "given")
    known = paper.device(lut.device.requested)
    if origin == "paper" and known is not None:
        return Limits(known.limits_ms, "paper")
    return Limits(matched_limits(latencies_ms), "matched")


def matched_limits(latencies_ms: Sequence[float]) -> tuple[float, ...]:
    """The smallest latencies that at least each of `MATCHED_SHARES` of the architectures reach.

    Rounded up to `MATCHED_DIGITS` significant digits; equal ones are given once.
    """
    quantiles = np.quantile(np.asarray(latencies_ms), MATCHED_SHARES, method="inverted_cdf")
    return tuple(sorted({_round_up(float(value)) for value in quantiles}))


def _round_up(value: float) -> float:
    digits = MATCHED_DIGITS - 1 - math.floor(math.log10(value))
    rounded = round(value, digits)
    return rounded if rounded >= value else round(value + 10.0**-digits, digits)
