"""Limits with a margin for a table's own error, and what must be said of its faults."""

from __future__ import annotations

from typing import Literal

from fofa.errors import UserError
from fofa.latency import Lut

Margin = Literal["none", "noise"]


def limit_with_margin(lut: Lut, limit_ms: float, margin: Margin) -> float:
    """The predicted latency that still keeps `limit_ms` if the table errs by its own error.

    Raises:
        UserError: if a margin is asked of a table that was not validated.
    """
    if margin == "none":
        return limit_ms
    error = lut.error_percent
    if error is None:
        raise UserError(
            f"the {lut.method} table of {lut.device.requested} was not validated on whole "
            "networks, so there is no error to keep a margin of; leave out --margin"
        )
    return limit_ms / (1 + error / 100)


def table_notes(lut: Lut) -> tuple[str, ...]:
    """What must be said with every number of the table: other hardware than its name, unstable."""
    notes = []
    name = lut.device.requested
    if lut.device.matches is False:
        hardware = lut.device.hardware or "other hardware"
        notes.append(
            f"The {name} table was measured on {hardware}, which is not what its name expects."
        )
    if (reasons := lut.instability) is not None:
        notes.append(f"The measurement of the {name} table was unstable: {reasons}.")
    return tuple(notes)
