"""How much is measured: numbers of networks, runs and rounds. One value object for the core."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fofa.errors import UserError

DEFAULT_BUDGET_SECONDS = 65.0
DEFAULT_SESSIONS = 2
DEFAULT_GAP_SECONDS = 3.0
MAX_BUDGET_SECONDS = 30 * 86400.0
MAX_SESSIONS = 4
MAX_GAP_SECONDS = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSettings:
    """Sizes of a measurement. The defaults are for networks of 1 to 100 ms.

    Attributes:
        seed: of the choice of networks and the order of the rounds.
        calibration_networks, validation_networks: whole networks timed per resolution.
        repeats: validation networks per resolution that are timed twice, as two separate entries.
        budget_seconds: wall time for warming up and the rounds of all sessions, once everything is
            built; fewer or more rounds are made to meet it.
        sessions: how many processes measure: the first makes the table, the others test it.
        session_share: of the budget, for each session after the first.
        gap_seconds: from the end of a session to the start of the next.
        other_networks: whole networks per resolution that only the sessions after the first time.
        min_rounds, max_rounds: bounds that win over the budget.
        min_samples, max_samples: recorded runs per visit.
        visit_ms: recorded time per visit that is aimed at within those bounds.
        warmup_ms: time to run an item before its recorded runs, but not ever so
            often (`profilers.measuring.schedule`).
        canary_seconds: time between two visits of the canary that is aimed at.

    Raises:
        UserError: if the sizes are out of range or do not go together.
    """

    seed: int = 0
    calibration_networks: int = 16
    validation_networks: int = 8
    repeats: int = 3
    budget_seconds: float = DEFAULT_BUDGET_SECONDS
    sessions: int = DEFAULT_SESSIONS
    session_share: float = 0.2
    gap_seconds: float = DEFAULT_GAP_SECONDS
    other_networks: int = 4
    min_rounds: int = 5
    max_rounds: int = 40
    min_samples: int = 3
    max_samples: int = 8
    visit_ms: float = 4.0
    warmup_ms: float = 16.0
    canary_seconds: float = 0.4

    def __post_init__(self) -> None:
        if not 0 < self.budget_seconds <= MAX_BUDGET_SECONDS:
            raise UserError(
                f"budget of {self.budget_seconds:g} seconds: expected a number above 0, 30 days "
                "at most"
            )
        if self.calibration_networks < 2 or self.validation_networks < 1:
            raise UserError("at least 2 calibration networks and 1 validation network are needed")
        if not 0 <= self.repeats <= self.validation_networks:
            raise UserError("repeats are validation networks, so there are no more than those")
        if not 1 <= self.sessions <= MAX_SESSIONS:
            raise UserError(f"{self.sessions} sessions: expected 1 to {MAX_SESSIONS}")
        if not 0 <= self.gap_seconds <= MAX_GAP_SECONDS:
            raise UserError(f"gap of {self.gap_seconds:g} seconds: expected 0 to a day")
        if not 1 <= self.min_rounds <= self.max_rounds:
            raise UserError("rounds: expected 1 <= min_rounds <= max_rounds")
        if not 1 <= self.min_samples <= self.max_samples:
            raise UserError("samples: expected 1 <= min_samples <= max_samples")

    @property
    def first_session(self) -> MeasureSettings:
        """The settings of the session that makes the table: what the others leave of the budget."""
        share = 1 - self.session_share * (self.sessions - 1)
        return replace(self, budget_seconds=self.budget_seconds * share)

    def other_session(self, number: int) -> MeasureSettings:
        """The settings of a session after the first: few rounds of long visits, as a loop makes."""
        return replace(
            self,
            seed=self.seed + number,
            budget_seconds=self.budget_seconds * self.session_share,
            min_rounds=2,
            max_rounds=8,
            min_samples=5,
            max_samples=20,
            visit_ms=30.0,
        )
