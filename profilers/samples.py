"""Raw samples: kept while a measurement runs, so that it can resume, and beside the table after.

While it runs: `<out>.partial`, JSON lines; the first says what is measured, every other one is a
finished round. A line that a kill cut short is dropped. Afterwards: `<out>.samples.json.gz`.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from fofa.errors import UserError
from fofa.files import FileModel, write_bytes, write_text

PARTIAL_SUFFIX = ".partial"
SAMPLES_SUFFIX = ".samples.json.gz"


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
    """One pass over all items, with what else went on."""

    number: int
    visits: tuple[Visit, ...]
    other_cpu_percent: float | None = None
    steal_percent: float | None = None
    other_profilers: int = 0
    state: dict[str, Any] = field(default_factory=dict)


class SchedulePlan(BaseModel):
    """What warming up found out and every round then follows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warmup_runs: int = Field(ge=0)
    rounds: int = Field(ge=1)
    canary_every: int = Field(ge=1)
    samples: dict[str, int]


class Header(FileModel):
    """First line of a partial file (schema `fofa.partial/1`)."""

    SCHEMA: ClassVar[str] = "fofa.partial"
    VERSION: ClassVar[int] = 1

    identity: dict[str, Any]
    plan: SchedulePlan


ItemNumber = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]
Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RoundRecord(BaseModel):
    """A round as files hold it: visits are `[item number, seconds, [ms, ...]]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    round: int = Field(ge=0)
    visits: list[tuple[ItemNumber, Seconds, list[Milliseconds]]]
    other_cpu_percent: float | None = None
    steal_percent: float | None = None
    other_profilers: int = 0
    state: dict[str, Any] = Field(default_factory=dict)


class SamplesFile(FileModel):
    """Everything that was timed (schema `fofa.samples/1`), compressed beside the table."""

    SCHEMA: ClassVar[str] = "fofa.samples"
    VERSION: ClassVar[int] = 1

    identity: dict[str, Any]
    plan: SchedulePlan
    items: list[str]
    rounds: list[RoundRecord]


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
        rounds: list[Round] = []
        for line in lines[1:]:
            record = self._round(line)
            if record is None or record.number != len(rounds):
                break
            rounds.append(record)
        return header.plan, rounds

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

    def _round(self, line: bytes) -> Round | None:
        """The round in a line, None if a kill cut it short."""
        try:
            record = RoundRecord.model_validate_json(line, strict=True)
            return round_of(record, self._names)
        except (ValueError, IndexError):
            return None

    def _line(self, round_: Round) -> str:
        return json.dumps(record_of(round_, self._numbers).model_dump(mode="json"))


def record_of(round_: Round, numbers: dict[str, int]) -> RoundRecord:
    """A round as files hold it."""
    return RoundRecord(
        round=round_.number,
        visits=[
            (numbers[visit.item], round(visit.seconds, 6), [round(s, 6) for s in visit.samples_ms])
            for visit in round_.visits
        ],
        other_cpu_percent=round_.other_cpu_percent,
        steal_percent=round_.steal_percent,
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
    write_bytes(path, gzip.compress(text.encode(), mtime=0))


def read_samples(path: Path) -> SamplesFile:
    """The content of a side file.

    Raises:
        UserError: one line with the file and what is wrong.
    """
    try:
        text = gzip.decompress(path.read_bytes()).decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{path}: not a readable compressed file: {error}") from None
    return SamplesFile.parse(text, path)
