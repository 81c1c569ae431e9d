"""Networks that somebody would use instead (`fofa-bench --rivals FILE`), beside the fronts.

A rival is one network with what it takes on a device and what it gets right on a data set, measured
elsewhere: the file says where. It is compared where device and data set are the same, and nowhere
else. Where it wins, the table says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bench.tables import captions
from bench.tables.collect import SettingResults
from bench.tables.devices import PairedDevice
from bench.tables.fronts import FrontLine, Step, front_lines
from bench.tables.model import Cell, Column, MethodRow, Table
from fofa.files import FileModel

Text = Annotated[str, Field(min_length=1, max_length=300)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Rival(BaseModel):
    """One network.

    Attributes:
        latency_ms: on the file's device, of a batch of its latency table.
        top1: in percent, on the test images that the accuracy tables are measured on.
        cost_hours: core-hours (of a GPU: GPU-hours) that its training cost, all of it.
        source: who measured it, how, or where it is published.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text
    latency_ms: Positive
    top1: float = Field(ge=0, le=100, allow_inf_nan=False)
    cost_hours: float = Field(ge=0, allow_inf_nan=False)
    source: Text


class Rivals(FileModel):
    """What `--rivals` takes (schema `fofa.rivals/1`): networks of one device and data set."""

    SCHEMA: ClassVar[str] = "fofa.rivals"
    VERSION: ClassVar[int] = 1

    device: Text
    dataset: Text
    rivals: list[Rival] = Field(min_length=1, max_length=100)

    @field_validator("rivals")
    @classmethod
    def _of_different_names(cls, rivals: list[Rival]) -> list[Rival]:
        names = [rival.name for rival in rivals]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"expected different names, {twice[0]!r} comes twice")
        return rivals

    def fits(self, results: SettingResults, device: PairedDevice) -> bool:
        """Whether they can be compared with a device's fronts."""
        return (self.device, self.dataset) == (device.source.device, results.setting.dataset)


def read_rivals(paths: Sequence[Path]) -> list[Rivals]:
    """The files.

    Raises:
        UserError: one line with the file, the field and what was expected.
    """
    return [Rivals.read(path) for path in paths]


@dataclass(frozen=True, slots=True)
class Match:
    """A rival, and the best that a front has within its latency; None where it has nothing."""

    rival: Rival
    line: FrontLine | None
    step: Step | None

    @property
    def ahead(self) -> float | None:
        """Points of top-1 that the rival is ahead; negative where the front is."""
        return None if self.step is None else self.rival.top1 - self.step.top1


def matches(rivals: Sequence[Rival], lines: Sequence[FrontLine]) -> list[Match]:
    """Each rival with the most accurate step of any recipe that is as fast; by latency."""
    found = []
    for rival in sorted(rivals, key=lambda rival: (rival.latency_ms, rival.name)):
        within = [
            (step.top1, -step.latency_ms, line, step)
            for line in lines
            for step in line.steps
            if step.latency_ms <= rival.latency_ms
        ]
        best = max(within, key=lambda entry: entry[:2], default=None)
        found.append(Match(rival, *((None, None) if best is None else best[2:])))
    return found


def rivals_table(
    name: str, title: str, rivals: Sequence[Rival], results: SettingResults, device: PairedDevice
) -> Table:
    """Every rival beside the best network of the fronts that is at least as fast."""
    found = matches(rivals, front_lines(results, device))
    return Table(
        name=name,
        title=title,
        verdict=[_verdict(match) for match in found],
        brief=["Rivals: as their files say; nothing of them was measured here."],
        caption=[
            "Each rival beside the most accurate network of any recipe's front that takes no "
            "longer. Cost: core-hours (of a GPU: GPU-hours) of training, of ours for all networks "
            "together.",
            *(f"{match.rival.name}: {match.rival.source}." for match in found),
            *captions.latency_sentences(device.source),
            captions.accuracy_sentence(results.setting, results.sources),
        ],
        row_title="Rival",
        columns=[
            Column(title="Latency", group="rival", unit="ms"),
            Column(title="Top-1", group="rival", unit="%"),
            Column(title="Cost", group="rival", decimals=3, unit="h"),
            Column(title="Top-1", group="ours as fast", unit="%"),
            Column(title="Latency", group="ours as fast", unit="ms"),
            Column(title="Cost", group="ours as fast", decimals=3, unit="h"),
            Column(title="Rival ahead", group="difference", unit="points"),
        ],
        rows=[MethodRow(method=m.rival.name, recipe="rival", cells=_cells(m)) for m in found],
    )


def _cells(match: Match) -> list[Cell]:
    rival = match.rival
    own = [Cell(value=value) for value in (rival.latency_ms, rival.top1, rival.cost_hours)]
    if match.step is None or match.line is None:
        return own + [Cell(note="none is as fast")] * 4
    chosen = list(match.step.chosen)
    costs = [source.table.training for source in match.line.sources]
    hours = [cost.gpu_hours or cost.core_hours for cost in costs]
    known = [hour for hour in hours if hour is not None]
    cost = Cell(value=sum(known) / len(known)) if known else Cell(note="not recorded")
    return [
        *own,
        Cell(value=match.step.top1, seeds=len(chosen), choices=chosen),
        Cell(value=match.step.latency_ms),
        cost,
        Cell(value=match.ahead),
    ]


def _verdict(match: Match) -> str:
    rival = match.rival
    if match.step is None or match.line is None or match.ahead is None:
        return f"{rival.name} is faster ({rival.latency_ms:.2f} ms) than every network here."
    ours = f"{match.line.label} has {match.step.top1:.2f}% in {match.step.latency_ms:.2f} ms"
    what = f"{rival.name} {rival.top1:.2f}% in {rival.latency_ms:.2f} ms"
    if match.ahead > 0:
        return f"{what} wins by {match.ahead:.2f} points: {ours}."
    if match.ahead < 0:
        return f"{what} loses by {-match.ahead:.2f} points: {ours}."
    return f"{what} is level: {ours}."
