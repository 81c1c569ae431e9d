"""Pairing a latency table with an accuracy table: every architecture with both numbers.

This is the one place that decides what may be paired. Tables of another space, width or set of
resolutions are refused, naming both sides. Two exceptions, each announced in `notes`, which every
output repeats: a published table (the Note10's is of width 1.2 and starts at 160 px), and an
accuracy table that declares itself a stand-in for larger images (`ProxyRecord`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fofa.accuracy import AccuracyTable
from fofa.errors import UserError
from fofa.latency import Lut
from fofa.space import Architecture


@dataclass(frozen=True, slots=True)
class Candidates:
    """Architectures with their numbers, one row each.

    Attributes:
        architectures: as the accuracy table names them.
        timed_as: the architecture whose latency was looked up (differs in resolution only, and
            only for a declared stand-in).
        top1: percent, float64 (N,).
        latency_ms: of a batch, float64 (N,).
        macs: of the accuracy table's architecture, int64 (N,).
        notes: sentences that every output made from these rows must repeat.
    """

    architectures: tuple[Architecture, ...]
    timed_as: tuple[Architecture, ...]
    top1: np.ndarray
    latency_ms: np.ndarray
    macs: np.ndarray
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.architectures)


def pair(
    lut: Lut, accuracy: AccuracyTable, *, resolutions: Sequence[int] | None = None
) -> Candidates:
    """Every architecture of `accuracy` that `lut` can time, with both numbers.

    Args:
        resolutions: keep only architectures measured at these (as the accuracy table names them).

    Raises:
        UserError: if the two tables may not be paired, naming both sides.
    """
    notes = []
    space, table = accuracy.space, lut.space
    sides = f"latency table of {lut.device.requested} and accuracy table of {accuracy.recipe}"
    if table.width_mult != space.width_mult:
        if lut.method != "published":
            raise UserError(
                f"{sides} do not fit: width {table.width_mult:g} and width {space.width_mult:g}"
            )
        notes.append(
            f"The published {lut.device.requested} table is of width {table.width_mult:g}, the "
            f"accuracy of width {space.width_mult:g}; blocks are paired by position, as the paper "
            "does."
        )
    compound = all(entry.architecture.subnet.is_compound for entry in accuracy.architectures)
    if table.kind == "compound" and not compound:
        raise UserError(f"{sides} do not fit: {table.kind} space and {space.kind} space")
    scale, scale_notes = _resolution_scale(lut, accuracy, sides)
    notes += scale_notes
    wanted = set(space.resolutions if resolutions is None else resolutions)
    unknown = wanted - set(space.resolutions)
    if unknown:
        raise UserError(
            f"resolutions {sorted(unknown)} are not in the accuracy table of {accuracy.recipe}, "
            f"which has {list(space.resolutions)}"
        )
    timed = set(table.resolutions)
    rows = [
        entry
        for entry in accuracy.architectures
        if entry.architecture.resolution in wanted
        and entry.architecture.resolution * scale in timed
    ]
    if not rows:
        raise UserError(
            f"{sides} have no architecture in common at resolutions {sorted(wanted)}: "
            f"latency is known at {table.resolutions}"
        )
    architectures = tuple(row.architecture for row in rows)
    timed_as = tuple(Architecture(a.subnet, a.resolution * scale) for a in architectures)
    return Candidates(
        architectures=architectures,
        timed_as=timed_as,
        top1=np.array([row.top1 for row in rows]),
        latency_ms=lut.latencies_ms(timed_as),
        macs=np.array([row.macs for row in rows]),
        notes=tuple(notes),
    )


def _resolution_scale(lut: Lut, accuracy: AccuracyTable, sides: str) -> tuple[int, list[str]]:
    """The factor from accuracy resolution to latency resolution (1 unless declared), with notes."""
    timed, measured = set(lut.space.resolutions), set(accuracy.space.resolutions)
    scale, notes = 1, []
    if not measured & timed and accuracy.proxy is not None:
        scale = accuracy.proxy.resolution_scale
        notes.append(
            f"Accuracy was measured on images of {_span(measured)} px and stands in for "
            f"{_span(r * scale for r in measured)} px, where latency was taken "
            f"({accuracy.proxy.reason})."
        )
    wanted = {resolution * scale for resolution in measured}
    missing = wanted - timed
    if missing == wanted or (missing and lut.method != "published"):
        raise UserError(
            f"{sides} do not fit: resolutions {sorted(timed)} and {sorted(measured)} px"
        )
    if missing:
        notes.append(
            f"The published {lut.device.requested} table has no {_list(missing)} px; architectures "
            "of that resolution are left out."
        )
    return scale, notes


def _span(values: Iterable[int]) -> str:
    numbers = sorted(values)
    return f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"


def _list(values: set[int]) -> str:
    return ", ".join(str(value) for value in sorted(values))
