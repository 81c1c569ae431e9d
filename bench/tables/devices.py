"""A device in a table: its latencies paired with the accuracies of a setting, and its limits.

Pairing is `fofa.search.pairing.pair`. Limits are the paper's, limits that mean the same on another
device, or a list. The paper's limits (15, 20, 25, 30 ms on the Note10, ...) mean something only on
the paper's own hardware. `matched` puts four limits at the same shares of the search space as 15,
20, 25 and 30 ms have on the Note10, so that a limit is as strict on one device as on the other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bench.tables.collect import AccuracySource, LutSource, SettingResults
from bench.tables.model import ChosenArchitecture
from fofa.errors import UserError
from fofa.search.pairing import Candidates, pair
from fofa.space import Architecture

Origin = Literal["paper", "matched", "given"]

NOTE10_SPACE_SIZE = 1215
NOTE10_WITHIN = (40, 212, 485, 748)
"""Compound architectures at 160, 176, 192, 208 and 224 px within 15, 20, 25 and 30 ms, and how many
there are, on the Note10 table of OFA (Cai et al., 2020)."""
MATCHED_SHARES = tuple(count / NOTE10_SPACE_SIZE for count in NOTE10_WITHIN)

MATCHED_DIGITS = 4
"""Matched limits are rounded up to this many significant digits, so that they can be retyped."""


@dataclass(frozen=True, slots=True)
class WantedLimits:
    """What the caller asked for; `origin` None lets each device take its own default."""

    origin: Origin | None = None
    values_ms: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one device, ascending, and where they come from."""

    values_ms: tuple[float, ...]
    origin: Origin


def parse_limits(text: str | None) -> WantedLimits:
    """`paper`, `matched`, or limits in milliseconds separated by commas; None for the defaults.

    Raises:
        UserError: if it is none of these.
    """
    if text is None:
        return WantedLimits()
    if text == "paper":
        return WantedLimits("paper")
    if text == "matched":
        return WantedLimits("matched")
    parts = [part.strip() for part in text.split(",")]
    number = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?|\.[0-9]{1,9}", re.ASCII)
    known = all(number.fullmatch(part) for part in parts)
    values = sorted({float(part) for part in parts}) if known else []
    if not values or values[0] <= 0:
        raise UserError(
            f"constraints {text!r}: expected paper, matched, or limits in ms such as 15,20,25.5"
        )
    return WantedLimits("given", tuple(values))


def limits_for(source: LutSource, latencies_ms: Sequence[float], wanted: WantedLimits) -> Limits:
    """The limits to use with a latency table, by which architectures take `latencies_ms`.

    By default the paper's on the paper's own hardware, matched ones on any other. The paper's
    limits asked for on a device that the paper does not have become matched ones; captions say
    which limits were used.
    """
    origin = wanted.origin or ("paper" if source.is_papers_own else "matched")
    if origin == "given":
        return Limits(wanted.values_ms, "given")
    if origin == "paper" and source.paper_device is not None:
        return Limits(source.paper_device.limits_ms, "paper")
    return Limits(matched_limits(latencies_ms), "matched")


def matched_limits(latencies_ms: Sequence[float]) -> tuple[float, ...]:
    """The smallest latencies that at least each of `MATCHED_SHARES` of the architectures reach.

    Rounded up to `MATCHED_DIGITS` significant digits; equal ones are given once.
    """
    return tuple(sorted(set(limits_by_share(latencies_ms))))


def limits_by_share(latencies_ms: Sequence[float]) -> list[float]:
    """The same, one for each of `MATCHED_SHARES` in order, equal ones included."""
    quantiles = np.quantile(np.asarray(latencies_ms), MATCHED_SHARES, method="inverted_cdf")
    return [_round_up(float(value)) for value in quantiles]


def _round_up(value: float) -> float:
    digits = MATCHED_DIGITS - 1 - math.floor(math.log10(value))
    rounded = round(value, digits)
    return rounded if rounded >= value else round(value + 10.0**-digits, digits)


@dataclass(frozen=True, slots=True)
class PairedDevice:
    """A device's table with every accuracy table of a setting, and the limits to look at.

    `problems` says for an accuracy table (by anchor) why it could not be paired. `title` tells the
    device from every other one.
    """

    source: LutSource
    title: str
    limits: Limits
    candidates: dict[str, Candidates]
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """What pairing announces, each sentence once."""
        return list(dict.fromkeys(n for c in self.candidates.values() for n in c.notes))

    def paper_index(self, index: int) -> int | None:
        """Which of the paper's columns is set beside ours: the same limit, or the same rank."""
        device, limits = self.source.paper_device, self.limits
        if device is None:
            return None
        if limits.origin == "matched":
            return index if len(limits.values_ms) == len(device.limits_ms) else None
        limit = limits.values_ms[index]
        return device.limits_ms.index(limit) if limit in device.limits_ms else None

    def chosen(self, source: AccuracySource, row: int) -> ChosenArchitecture:
        """The architecture in row `row` of what an accuracy table was paired to."""
        found = self.candidates[source.anchor]
        return ChosenArchitecture(
            seed=source.table.training.seed,
            architecture=found.architectures[row].name,
            timed_as=found.timed_as[row].name,
            top1=float(found.top1[row]),
            latency_ms=float(found.latency_ms[row]),
            accuracy=source.anchor,
            lut=self.source.anchor,
        )


def pair_device(
    source: LutSource,
    results: SettingResults,
    wanted: WantedLimits,
    title: str | None = None,
) -> PairedDevice:
    """Pair a device's table with every accuracy table that it fits.

    Raises:
        UserError: if it fits none, with the reason of the first.
    """
    candidates: dict[str, Candidates] = {}
    problems: dict[str, str] = {}
    latencies: dict[Architecture, float] = {}
    for entry in results.sources:
        try:
            found = pair(source.lut, entry.table)
        except UserError as error:
            problems[entry.anchor] = str(error)
            continue
        candidates[entry.anchor] = found
        latencies |= dict(zip(found.timed_as, found.latency_ms.tolist(), strict=True))
    if not candidates:
        raise UserError(f"{source.path}: {next(iter(problems.values()), 'no accuracy table')}")
    limits = limits_for(source, list(latencies.values()), wanted)
    return PairedDevice(source, title or source.title, limits, candidates, problems)
