"""Raw samples: kept while a measurement runs, so that it can resume, and beside the table after.

While it runs: `<out>.partial`, JSON lines; the first says what is measured, every other one is a
finished round. A last line that a kill cut short is dropped; any other fault is damage, and is
refused. Afterwards: `<out>.samples.json.gz`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fofa.errors import UserError
from fofa.files import FileModel, explain, parse_json, read_gzip, write_gzip, write_text

PARTIAL_SUFFIX = ".partial"
SAMPLES_SUFFIX = ".samples.json.gz"
MAX_SAMPLES_BYTES = 64 * 2**20
"""Of the text of a side file: some five million samples; a table has tens of thousands."""
MIN_SAMPLE_MS = 1e-6
"""A nanosecond, to which samples are rounded."""


@dataclass(frozen=True, slots=True)
class Visit:
    """Some runs in a row of one item.

    Attributes:
        item: its name.
        seconds: when, since the measurement began (time between two sessions not counted).
        samples_ms: recorded runs; the warm-up runs before them are not kept.
    """

    item: str
    seconds: float
    samples_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """One pass over all items, with what else went on (`profilers.measuring.interference`)."""

    number: int
    visits: tuple[Visit, ...]
    other_cpu_percent: float | None = None
    steal_percent: float | None = None
    machine_cpu_percent: float | None = None
    other_profilers: int = 0
    state: dict[str, Any] = field(default_factory=dict)


class SchedulePlan(BaseModel):
    """What warming up found out and every round then follows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warmup_runs: int = Field(ge=0)
    rounds: int = Field(ge=1)
    canary_every: int = Field(ge=1)
    samples: dict[str, Annotated[int, Field(ge=1)]]
    warmups: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)

    def warmup(self, name: str) -> int:
        """Runs of an item before those that are recorded."""
        return self.warmups.get(name, self.warmup_runs)


class Header(FileModel):
    """First line of a partial file (schema `fofa.partial/1`)."""

    SCHEMA: ClassVar[str] = "fofa.partial"
    VERSION: ClassVar[int] = 1

    identity: dict[str, Any]
    plan: SchedulePlan


ItemNumber = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]
Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""Nothing takes no time, and the logarithm of a sample is taken (`profilers.measuring.drift`)."""
Samples = Annotated[list[Milliseconds], Field(min_length=1)]
Percent = Annotated[float, Field(allow_inf_nan=False)]


class RoundRecord(BaseModel):
    """A round as files hold it: visits are `[item number, seconds, [ms, ...]]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    round: int = Field(ge=0)
    visits: list[tuple[ItemNumber, Seconds, Samples]]
    other_cpu_percent: Percent | None = None
    steal_percent: Percent | None = None
    machine_cpu_percent: Percent | None = None
    other_profilers: int = Field(default=0, ge=0)
    state: dict[str, Any] = Field(default_factory=dict)

    def check(self, names: Sequence[str], plan: SchedulePlan) -> None:
        """Raise `ValueError` unless this is a round of all items, each as often as planned."""
        counts = dict.fromkeys(range(len(names)), 0)
        for number, _, samples in self.visits:
            if number not in counts:
                raise ValueError(f"visits item {number} of {len(names)}")
            counts[number] += 1
            planned = plan.samples.get(names[number], len(samples))
            if len(samples) != planned:
                raise ValueError(f"{len(samples)} runs of {names[number]}, planned {planned}")
        missing = [names[number] for number, count in counts.items() if not count]
        if missing:
            raise ValueError(f"never visits {missing[0]}")


class SessionSamples(BaseModel):
    """Everything that one process timed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: SchedulePlan
    items: list[str]
    rounds: list[RoundRecord]

    @model_validator(mode="after")
    def _check_rounds(self) -> Self:
        for record in self.rounds:
            try:
                record.check(self.items, self.plan)
            except ValueError as error:
                raise ValueError(f"round {record.round}: {error}") from None
        return self


class SamplesFile(FileModel, SessionSamples):
    """Everything that was timed (schema `fofa.samples/2`), compressed beside the table.

    The plain fields are of the session that the table was made in; version 1 knew no others.
    """

    SCHEMA: ClassVar[str] = "fofa.samples"
    VERSION: ClassVar[int] = 2
    UPGRADES: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {1: dict}

    identity: dict[str, Any]
    other_sessions: list[SessionSamples] = Field(default_factory=list)


class PartialFile:
    """The samples of a measurement that is under way, one line a round, each flushed to disk."""

    def __init__(self, path: Path, items: Sequence[str]) -> None:
        self.path = path
        self._names = list(items)
        self._numbers = {name: number for number, name in enumerate(items)}

    def read(self, identity: dict[str, Any]) -> tuple[SchedulePlan, list[Round]] | None:
        """Plan and finished rounds of an interrupted measurement, None if there is no file.

        Raises:
            UserError: if the file belongs to another measurement or cannot be understood.
        """
        if not self.path.exists():
            return None
        lines = self.path.read_bytes().split(b"\n")
        header = self._header(lines[0])
        found = header.identity
        if found != identity:
            names = sorted(
                name for name in found | identity if found.get(name) != identity.get(name)
            )
            raise UserError(
                f"{self.path}: holds an interrupted measurement that differs in "
                f"{', '.join(names)}; --fresh discards it"
            )
        plan = header.plan
        if plan.samples.keys() != {*self._names[1:]}:  # the first is the canary
            raise UserError(f"{self.path}: damaged (plans other items); --fresh discards it")
        records = [self._record(line, number, plan) for number, line in enumerate(lines[1:-1])]
        # Only what follows the last newline can have been cut short.
        if len(lines) > 1 and _is_json(lines[-1]):
            records.append(self._record(lines[-1], len(records), plan))
        if len(records) > plan.rounds:
            raise UserError(f"{self.path}: damaged (more rounds than planned); --fresh discards it")
        return plan, [round_of(record, self._names) for record in records]

    def start(self, identity: dict[str, Any], plan: SchedulePlan, rounds: Sequence[Round]) -> None:
        """Write the header and the rounds so far, whole or not at all."""
        header = Header(identity=identity, plan=plan).model_dump(by_alias=True, mode="json")
        lines = [json.dumps(header), *(self._line(round_) for round_ in rounds)]
        write_text(self.path, "\n".join(lines) + "\n")

    def append(self, round_: Round) -> None:
        """Add a finished round.

        Raises:
            UserError: if the file cannot be written.
        """
        try:
            with self.path.open("ab") as file:
                file.write(self._line(round_).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f"{self.path}: cannot write: {error.strerror or error}") from error

    def discard(self) -> None:
        """Remove the file, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def _header(self, line: bytes) -> Header:
        try:
            return Header.parse(line.decode("utf-8", errors="replace"), self.path)
        except UserError as error:
            raise UserError(f"{error}; --fresh discards it") from None

    def _record(self, line: bytes, number: int, plan: SchedulePlan) -> RoundRecord:
        """The round number `number` in a line that was written whole."""
        try:
            text = line.decode("utf-8", errors="replace")
            parse_json(text, self.path)  # refuses NaN, which pydantic takes in `state`
            record = RoundRecord.model_validate_json(text, strict=True)
            if record.round != number:
                raise ValueError(f"it says that it is round {record.round}")
            record.check(self._names, plan)
        except (UserError, ValueError) as error:
            fault = explain(error) if isinstance(error, ValidationError) else error
            raise UserError(
                f"{self.path}: damaged in round {number} ({fault}); --fresh discards it"
            ) from None
        return record

    def _line(self, round_: Round) -> str:
        return json.dumps(record_of(round_, self._numbers).model_dump(mode="json"))


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def record_of(round_: Round, numbers: dict[str, int]) -> RoundRecord:
    """A round as files hold it.

    Raises:
        UserError: if a timer said that an item took no time, or less.
    """
    for visit in round_.visits:
        if min(visit.samples_ms) < MIN_SAMPLE_MS:
            raise UserError(
                f"the profiler's timer gave {min(visit.samples_ms):g} ms for {visit.item}: "
                "nothing takes so little"
            )
    return RoundRecord(
        round=round_.number,
        visits=[
            (numbers[visit.item], round(visit.seconds, 6), [round(s, 6) for s in visit.samples_ms])
            for visit in round_.visits
        ],
        other_cpu_percent=round_.other_cpu_percent,
        steal_percent=round_.steal_percent,
        machine_cpu_percent=round_.machine_cpu_percent,
        other_profilers=round_.other_profilers,
        state=round_.state,
    )


def round_of(record: RoundRecord, names: Sequence[str]) -> Round:
    """The round in a record; inverse of `record_of` up to rounding (to the nanosecond)."""
    return Round(
        number=record.round,
        visits=tuple(
            Visit(names[item], seconds, tuple(samples)) for item, seconds, samples in record.visits
        ),
        other_cpu_percent=record.other_cpu_percent,
        steal_percent=record.steal_percent,
        machine_cpu_percent=record.machine_cpu_percent,
        other_profilers=record.other_profilers,
        state=record.state,
    )


def partial_path(out: Path) -> Path:
    """Where the samples of an unfinished table go."""
    return out.with_name(out.name + PARTIAL_SUFFIX)


def samples_path(out: Path) -> Path:
    """Where the samples of a finished table go."""
    return out.with_name(out.stem + SAMPLES_SUFFIX)


def write_samples(path: Path, samples: SamplesFile) -> None:
    """Write the side file atomically; the same samples give the same bytes."""
    text = json.dumps(samples.model_dump(by_alias=True, mode="json"), separators=(",", ":"))
    write_gzip(path, text)


def read_samples(path: Path) -> SamplesFile:
    """The content of a side file.

    Raises:
        UserError: one line with the file and what is wrong.
    """
    return SamplesFile.parse(read_gzip(path, MAX_SAMPLES_BYTES), path)
