"""What is searched: latency tables with limits, a source of accuracy, a space, and a way to search.

A problem is checked when it is made, so that every error of the user is found before the search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fofa.accuracy import AccuracyTable
from fofa.errors import UserError
from fofa.latency import Lut
from fofa.predictor.model import Predictor
from fofa.search.margin import Margin, limit_with_margin
from fofa.space import SpaceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A device to find a network for.

    Attributes:
        name: how the table is called in outputs (its file).
        limit_ms: inclusive limit on the latency of a batch; None for no limit.
    """

    name: str
    lut: Lut
    limit_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One search.

    Attributes:
        accuracy, predictor: where accuracy comes from; exactly one of them.
        targets: one network is found for each, or, with `joint`, one that keeps all limits. May be
            empty where only multiply-adds are limited.
        space: the predictor's search space; with an accuracy table what it holds is searched.
        resolutions: restrict the search to these, as the accuracy names them.
        margin: `noise` keeps latencies below their limits by the tables' own errors.
        seed: of the evolutionary search.

    Raises:
        UserError: if these do not go together, saying what to change.
    """

    accuracy: AccuracyTable | None = None
    predictor: Predictor | None = None
    targets: tuple[Target, ...] = ()
    max_macs: float | None = None
    space: SpaceKind = "compound"
    resolutions: tuple[int, ...] | None = None
    joint: bool = False
    margin: Margin = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.accuracy is None) == (self.predictor is None):
            raise UserError("give either an accuracy table or a predictor")
        limits = [(target.limit_ms, "a latency limit") for target in self.targets]
        for value, name in [*limits, (self.max_macs, "a limit on multiply-adds")]:
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UserError(f"{name} of {value:g}: expected a finite number above 0")
        if self.joint and len(self.targets) < 2:
            raise UserError("a joint search needs two or more latency tables")
        if self.space == "elastic":
            self._check_elastic()
        if self.seed < 0:
            raise UserError(f"seed {self.seed}: expected 0 or more")
        if self.margin != "none":
            for target in self.targets:
                limit_with_margin(target.lut, 1.0, self.margin)

    def _check_elastic(self) -> None:
        if self.accuracy is not None and self.accuracy.space.kind != "elastic":
            raise UserError(
                "the accuracy table is of the compound space; the elastic space needs a predictor, "
                "or a table of elastic architectures"
            )
        if self.predictor is not None and self.predictor.record.space.kind != "elastic":
            raise UserError("the predictor is of the compound space, not of the elastic one")

    @property
    def evolves(self) -> bool:
        """Whether the space is too large to look at all of it."""
        return self.space == "elastic" and self.predictor is not None

    @property
    def groups(self) -> list[tuple[Target, ...]]:
        """The targets that share a network: all of them, or each alone."""
        if self.joint or not self.targets:
            return [self.targets]
        return [(target,) for target in self.targets]

    def limit_ms(self, target: Target) -> float | None:
        """The limit that predicted latencies are held to, margin taken off."""
        if target.limit_ms is None:
            return None
        return limit_with_margin(target.lut, target.limit_ms, self.margin)
