"""What the core needs besides the plugin: a clock, an eye on the neighbours, a progress display.

Tests put in their own, so that a measurement runs without a real clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from profilers.measuring.interference import CpuMeter, Meter

Clock = Callable[[], float]
"""Seconds since some fixed moment, never going back."""


class Progress(Protocol):
    """Whoever shows a person how far it is."""

    def stage(self, name: str, total: int) -> None:
        """A new stage of `total` steps begins."""

    def advance(self, steps: int = 1) -> None:
        """Some steps of the stage are done."""


class Neighbours(Protocol):
    """Whoever knows of other profilers on this machine."""

    def others(self) -> int:
        """How many measure right now."""


class NoProgress:
    """Shows nothing."""

    def stage(self, name: str, total: int) -> None:
        """Nothing to show."""

    def advance(self, steps: int = 1) -> None:
        """Nothing to show."""


class NoNeighbours:
    """Knows of nobody."""

    def others(self) -> int:
        return 0


def silent(message: str) -> None:
    """Drop a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruments:
    """The surroundings of a measurement; `warn` takes what a person should see at once."""

    clock: Clock = time.perf_counter
    meter: Meter = field(default_factory=CpuMeter)
    presence: Neighbours = field(default_factory=NoNeighbours)
    progress: Progress = field(default_factory=NoProgress)
    warn: Callable[[str], None] = silent
