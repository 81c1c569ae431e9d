"""Whether two tables of one device agree: what they differ by in common, what beyond it, and what
their own records would lead one to expect.

A machine that is faster today moves every latency alike. That changes what a limit in milliseconds
means, not which network is faster; so the two are kept apart. Each table states both parts: how far
the machine's speed varied while it was measured (`drift_percent`), and how far the table is off on
whole networks that it had not seen (`mape_percent`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from fofa.errors import UserError
from fofa.latency import Lut
from fofa.space import Architecture
from profilers.measuring.network_timing import protocol_differences

TWO_SIDED_95 = 1.96
SAMPLE = 1000
"""Architectures compared where a space has more than that."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The difference of two tables over the architectures that both cover, in percent.

    Attributes:
        common_percent: by how much the first is slower throughout (median ratio); negative if
            faster.
        rest_percent, rest_max_percent: mean and largest difference once that is taken out.
        stated_common_percent: what sessions may differ by (95%, of both tables), and for tables
            that do not know that half of what the machine's speed varied by in the run, added up;
            None where a table was not measured.
        stated_rest_percent: the tables' mean errors on held-out networks, each in its own session,
            added up; None likewise.
        differences: in how they were measured, in words.
    """

    architectures: int
    common_percent: float
    rest_percent: float
    rest_max_percent: float
    stated_common_percent: float | None
    stated_rest_percent: float | None
    differences: tuple[str, ...]

    @property
    def agrees(self) -> bool | None:
        """Whether both parts are within what the tables state; None where they state nothing."""
        if self.stated_common_percent is None or self.stated_rest_percent is None:
            return None
        return (
            abs(self.common_percent) <= self.stated_common_percent
            and self.rest_percent <= self.stated_rest_percent
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        return {**asdict(self), "differences": list(self.differences), "agrees": self.agrees}


def compare(first: Lut, second: Lut, *, seed: int = 0) -> Agreement:
    """Compare `first` with `second` at the resolutions that both have.

    Raises:
        UserError: if they are of different spaces or have no resolution in common.
    """
    architectures = _common_architectures(first, second, seed)
    ratios = first.latencies_ms(architectures) / second.latencies_ms(architectures)
    common = float(np.median(ratios))
    rest = 100 * np.abs(ratios / common - 1)
    drifts, errors = _stated(first, second)
    return Agreement(
        architectures=len(architectures),
        common_percent=100 * (common - 1),
        rest_percent=float(rest.mean()),
        rest_max_percent=float(rest.max()),
        stated_common_percent=sum(drifts) if drifts else None,
        stated_rest_percent=sum(errors) if errors else None,
        differences=protocol_differences(second, first.protocol),
    )


def _common_architectures(first: Lut, second: Lut, seed: int) -> Sequence[Architecture]:
    ours, theirs = first.space, second.space
    if ours.family != theirs.family:
        raise UserError(f"the tables are of different families: {ours.family} and {theirs.family}")
    if (ours.kind, ours.width_mult) != (theirs.kind, theirs.width_mult):
        raise UserError(
            f"the tables are of different spaces: {ours.kind} of width {ours.width_mult:g}, and "
            f"{theirs.kind} of width {theirs.width_mult:g}"
        )
    resolutions = tuple(size for size in ours.resolutions if size in theirs.resolutions)
    if not resolutions:
        raise UserError(
            f"the tables have no resolution in common: {ours.resolutions} and {theirs.resolutions}"
        )
    space = replace(first.search_space, resolutions=resolutions)
    if space.kind == "compound":
        return list(space.architectures())
    rng = random.Random(seed)
    return [space.sample(rng) for _ in range(SAMPLE)]


def _stated(*tables: Lut) -> tuple[list[float], list[float]]:
    """How far each table's speed may be from another session's, and how far it is off beyond that;
    empty unless all of them say."""
    drifts, errors = [], []
    for table in tables:
        if table.validation is None or table.drift_percent is None:
            return [], []
        known, own = table.validation.uncertainty, table.validation.within_session
        drift = table.drift_percent / 2
        drifts.append(TWO_SIDED_95 * known.session_percent / math.sqrt(2) if known else drift)
        errors.append((own or table.validation).mape_percent)
    return drifts, errors
