"""How far a table's latencies can be trusted: its error, its faults, and limits with a margin."""

from __future__ import annotations

from typing import Literal

from fofa.errors import UserError
from fofa.latency import Lut

Margin = Literal["none", "noise"]


def error_percent(lut: Lut) -> float | None:
    """The table's own error on whole networks, in percent; None if it was never validated.

    The larger of its mean absolute percentage error on held-out networks and its noise floor (the
    same network timed twice): below the noise, a small error is luck.
    """
    if lut.validation is None:
        return None
    return max(lut.validation.mape_percent, lut.validation.noise_percent)


def limit_with_margin(lut: Lut, limit_ms: float, margin: Margin) -> float:
    """The predicted latency that still keeps `limit_ms` if the table errs by its own error.

    Raises:
        UserError: if a margin is asked of a table that was not validated.
    """
    if margin == "none":
        return limit_ms
    error = error_percent(lut)
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
    if lut.stability is not None and not lut.stability.stable:
        reasons = "; ".join(lut.stability.reasons) or "no reason recorded"
        notes.append(f"The measurement of the {name} table was unstable: {reasons}.")
    return tuple(notes)
