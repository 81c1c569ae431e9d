"""What comes back from another machine, and what of it is believed: nothing that was not checked.

Samples are JSON lines: a header (`fofa.remote/1`: the request, the machine, the schedule that
warming up led to), one line a round, and one at the end. They are read as they come, with a limit
for everything: lengths, numbers, counts. Each round must visit the items in the very order that its
number gives, each as often as the schedule says. No path is ever taken from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from fofa.errors import UserError
from fofa.files import FileModel, explain, parse_json
from fofa.latency import ProtocolRecord
from profilers.measuring.samples import Round, RoundRecord, SchedulePlan, round_of
from profilers.measuring.schedule import MAX_WARMUP_RUNS, PROFILE_RUNS, order_of_round
from profilers.measuring.settings import MeasureSettings
from profilers.measuring.workload import Workload, plan_workload
from profilers.remote.bundle import Bundle, items_digest, items_of
from profilers.remote.request import PLUGIN, RequestRecord

MAX_LINE_BYTES = 2_000_000
MAX_TEXT = 200
MAX_MS = 1e7
"""Nearly three hours for one run."""
MAX_SECONDS = 1e8
MAX_CORES = 4096


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected printable text")
    return text


Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_printable)]
Number = Annotated[float, Field(ge=0, le=1e18, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Core = Annotated[int, Field(ge=0, lt=MAX_CORES)]
Cores = Annotated[list[Core], Field(max_length=MAX_CORES)]
Celsius = Annotated[float, Field(ge=-100, le=500, allow_inf_nan=False)]
RuntimeName = Annotated[str, Field(pattern=r"^onnxruntime [0-9A-Za-z.+_-]{1,40}$")]
Provider = Annotated[str, Field(pattern=r"^[A-Za-z]{1,60}$")]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CoreKind(_Record):
    """Cores that are alike."""

    cores: Cores
    part: Text | None
    max_mhz: Number | None
    capacity: Number | None


class CpuRecord(_Record):
    """The processor (see `profilers.remote.machine`)."""

    model: Text | None
    vectors: Text | None = None
    physical_cores: Count | None
    logical_cores: Count | None
    allowed_cores: Count | None
    governor: Text | None
    memory_bytes: Count | None
    kinds: Annotated[list[CoreKind], Field(max_length=MAX_CORES)]


class SystemRecord(_Record):
    """The operating system."""

    os: Text
    kernel: Text | None
    machine: Text
    virtualised: bool | None


class MachineRecord(_Record):
    """What the machine says of itself."""

    cpu: CpuRecord
    gpus: Annotated[list[None], Field(max_length=0)]
    system: SystemRecord
    versions: Annotated[dict[Text, Text], Field(max_length=20)]


class StateRecord(_Record):
    """What changes from moment to moment."""

    load_average: Annotated[list[Number], Field(max_length=3)] | None
    cpu_frequency_mhz: Number | None
    other_cpu_percent: Number | None
    steal_percent: Number | None
    machine_cpu_percent: Number | None
    memory_available_bytes: Count | None
    temperatures_c: Annotated[dict[Text, Celsius], Field(max_length=64)]


class CpuState(_Record):
    """Of the cores that were used, after a round."""

    clock_mhz: Number | None
    temperature_c: Celsius | None


class RoundState(_Record):
    """What `RoundRecord.state` may hold."""

    cpu: CpuState


class Header(FileModel):
    """First line of the samples (schema `fofa.remote/1`)."""

    SCHEMA: ClassVar[str] = "fofa.remote"
    VERSION: ClassVar[int] = 1

    bundle: Hash
    request: RequestRecord
    items: Hash
    runtime: RuntimeName
    provider: Provider
    pinned_cores: Cores | None
    machine: MachineRecord
    before: StateRecord
    plan: SchedulePlan


class EndRecord(_Record):
    """What the last line says."""

    seconds: Annotated[float, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)]
    resumed_rounds: Count
    after: StateRecord


class EndLine(_Record):
    """The last line."""

    end: EndRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRun:
    """A finished measurement of another machine, checked."""

    header: Header
    workload: Workload
    rounds: tuple[Round, ...]
    end: EndRecord

    @property
    def protocol(self) -> ProtocolRecord:
        """How it was measured, in the words that the plugin here uses."""
        request = self.header.request
        return protocol_of(
            runtime=self.header.runtime,
            dtype=request.dtype,
            batch_size=request.batch_size,
            threads=request.threads,
            provider=self.header.provider,
            pinned=self.header.pinned_cores is not None,
        )

    def environment(self) -> dict[str, Any]:
        """The machine that was measured, and its state before and after."""
        cores = self.header.pinned_cores
        return {
            **self.header.machine.model_dump(),
            PLUGIN: self.header.runtime.partition(" ")[2],
            **({"pinned_cores": cores} if cores else {}),
            "before": self.header.before.model_dump(),
            "after": self.end.after.model_dump(),
        }


def protocol_of(
    *, runtime: str, dtype: str, batch_size: int, threads: int, provider: str, pinned: bool
) -> ProtocolRecord:
    """How the agent measures, in the words of the plugin that measures here the same way."""
    record = {
        "plugin": PLUGIN,
        "runtime": runtime,
        "dtype": dtype,
        "batch_size": batch_size,
        "threads": threads,
        "provider": provider,
        "clock": "perf_counter",
        "pinned": pinned,
        "binding": "off",
        "spinning": "on",
    }
    return ProtocolRecord.model_validate(record)


@dataclass(slots=True)
class SampleReader:
    """Reads samples piece by piece.

    Attributes:
        source: where they come from, for messages.
        bundle: that was sent; None if it is not at hand, and the header's own request counts.
    """

    source: str
    bundle: Bundle | None = None
    header: Header | None = None
    rounds: list[Round] = field(default_factory=list)
    end: EndRecord | None = None
    _rest: bytes = b""
    _workload: Workload | None = None
    _settings: MeasureSettings | None = None
    _lines: int = 0

    @property
    def planned(self) -> int:
        """Rounds there will be; 0 as long as that is not known."""
        return self.header.plan.rounds if self.header else 0

    def feed(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            UserError: one line with the line's number and what is wrong.
        """
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            self._lines += 1
            self._take(line)
        if len(self._rest) > MAX_LINE_BYTES:
            self._refuse(f"line {self._lines + 1} is longer than {MAX_LINE_BYTES} bytes")

    def finish(self) -> RemoteRun:
        """The whole measurement.

        Raises:
            UserError: if it is not finished.
        """
        if self.header is None or self._workload is None:
            self._refuse("there is no measurement in it")
        if self.end is None:
            self._refuse(
                f"{len(self.rounds)} of {self.planned} rounds are finished; run the agent again"
            )
        return RemoteRun(
            header=self.header, workload=self._workload, rounds=tuple(self.rounds), end=self.end
        )

    def _take(self, line: bytes) -> None:
        if len(line) > MAX_LINE_BYTES:
            self._refuse(f"line {self._lines} is longer than {MAX_LINE_BYTES} bytes")
        if self.end is not None:
            self._refuse(f"line {self._lines} comes after the end")
        where = Path(f"{self.source}: line {self._lines}")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            raise UserError(f"{where}: not text") from None
        parse_json(text, where)  # refuses NaN, and names that come twice
        try:
            if self.header is None:
                self._begin(Header.parse(text, where))
            elif len(self.rounds) == self.header.plan.rounds:
                self.end = EndLine.model_validate_json(text, strict=True).end
            else:
                self.rounds.append(self._round(text, self.header.plan))
        except ValidationError as error:
            raise UserError(f"{where}: {explain(error)}") from None
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None

    def _begin(self, header: Header) -> None:
        if self.bundle is not None and header.bundle != self.bundle.id:
            raise ValueError("these are the samples of another bundle")
        if self.bundle is not None and header.request != self.bundle.request:
            raise ValueError("these samples are of another request than was sent")
        if self.bundle is None:
            request = header.request.request()
            settings = request.settings
            workload = plan_workload(request.space, request.config, settings)
        else:
            workload, settings = self.bundle.workload, self.bundle.settings
        if header.items != items_digest(workload):
            raise ValueError(
                "the bundle was made by another version of fofa, which times other networks: make "
                "it again"
            )
        _check_plan(header.plan, workload, settings)
        self.header, self._workload, self._settings = header, workload, settings

    def _round(self, text: str, plan: SchedulePlan) -> Round:
        assert self._workload is not None
        assert self._settings is not None
        record, number = RoundRecord.model_validate_json(text, strict=True), len(self.rounds)
        if record.round != number:
            raise ValueError(f"expected round {number}, not {record.round}")
        RoundState.model_validate(record.state, strict=True)
        names = [item.name for item in items_of(self._workload)]
        numbers = {name: index for index, name in enumerate(names)}
        order = order_of_round(names[1:], self._settings.seed, number, plan.canary_every)
        expected = [0 if name is None else numbers[name] for name in order]
        if [item for item, _, _ in record.visits] != expected:
            raise ValueError(f"round {number} visits other items than planned")
        before = self.rounds[-1].visits[-1].seconds if self.rounds else 0.0
        for item, seconds, samples in record.visits:
            planned = plan.samples[names[item]] if item else self._settings.min_samples
            if len(samples) != planned:
                raise ValueError(f"{len(samples)} runs of {names[item]}, planned {planned}")
            if max(samples) > MAX_MS:
                raise ValueError(f"a run of {names[item]} took {max(samples):g} ms")
            if not before <= seconds <= MAX_SECONDS:
                raise ValueError(f"time runs from {before:g} to {seconds:g} seconds")
            before = seconds
        for percent in (
            record.other_cpu_percent,
            record.steal_percent,
            record.machine_cpu_percent,
        ):
            if percent is not None and not 0 <= percent <= 100 * MAX_CORES:
                raise ValueError(f"a load of {percent:g} percent")
        if record.other_profilers > 1000:
            raise ValueError(f"{record.other_profilers} other profilers")
        return round_of(record, names)

    def _refuse(self, fault: str) -> NoReturn:
        raise UserError(f"{self.source}: {fault}")


def read_run(path: Path) -> RemoteRun:
    """The finished measurement in a file that was brought back.

    Raises:
        UserError: one line with the file, the line and what is wrong.
    """
    reader = SampleReader(str(path))
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                reader.feed(piece)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    return reader.finish()


def _check_plan(plan: SchedulePlan, workload: Workload, settings: MeasureSettings) -> None:
    names = {item.name for item in workload.items}
    if plan.samples.keys() != names or not plan.warmups.keys() <= names:
        raise ValueError("the schedule is of other items than planned")
    most = max(PROFILE_RUNS, MAX_WARMUP_RUNS)
    if not max(plan.warmup_runs, *plan.warmups.values(), 0) <= most:
        raise ValueError(f"the schedule warms up for more than {most} runs")
    if not settings.min_rounds <= plan.rounds <= settings.max_rounds:
        raise ValueError(f"{plan.rounds} rounds, expected up to {settings.max_rounds}")
    for name, count in plan.samples.items():
        if not settings.min_samples <= count <= settings.max_samples:
            raise ValueError(f"{count} runs of {name}, expected up to {settings.max_samples}")
    if plan.canary_every > len(names):
        raise ValueError("the schedule never visits the canary")
