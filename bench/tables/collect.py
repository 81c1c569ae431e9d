"""What the bench works on: the accuracy tables and latency tables of folders and of the caller.

A file that is named on the command line takes the place of the folder's file of the same recipe,
seed and budget, or of the same device. Accuracy tables of different settings (data, images, space)
are kept apart: they are never rows of one table. Tables, figures and the gate all start from here,
so that they are of the same supernets and agree on which of the paper's devices a latency table
belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from bench.tables import paper
from bench.tables.budgets import Budget, budget_of
from fofa.accuracy import AccuracyTable, Positive
from fofa.errors import UserError
from fofa.families import WithFamily
from fofa.files import read_json
from fofa.latency import Lut
from fofa.outcomes import Outcomes, read_outcomes


class Setting(WithFamily):
    """What accuracy tables must share to be rows of one table, or to be compared in a gate.

    `int8`: whether the networks are quantised; all floating-point types go together.
    """

    dataset: str
    preset: str | None
    width_mult: Positive
    resolutions: tuple[int, ...]
    split: str
    test_images: int
    int8: bool = False

    @classmethod
    def of(cls, table: AccuracyTable) -> Setting:
        """The setting of an accuracy table."""
        return cls(
            dataset=table.dataset,
            preset=table.preset,
            family=table.space.family,
            width_mult=table.space.width_mult,
            resolutions=tuple(sorted(table.space.resolutions)),
            split=table.evaluation.split,
            test_images=table.evaluation.test_images,
            int8=table.dtype == "int8",
        )

    @property
    def name(self) -> str:
        """Short, for headings."""
        name = self.dataset if self.preset is None else f"{self.dataset}, preset {self.preset}"
        return f"{name}, int8" if self.int8 else name


@dataclass(frozen=True, slots=True)
class AccuracySource:
    """An accuracy table and its file; `named`: by the caller, not found in a folder.

    `outcomes`: image by image, where they are kept beside the file.
    """

    path: Path
    table: AccuracyTable
    named: bool = False
    outcomes: Outcomes | None = field(default=None, repr=False)

    @classmethod
    def read(cls, path: Path, *, named: bool = False) -> AccuracySource:
        """The accuracy table in `path`, with the outcomes beside it if there are any.

        Raises:
            UserError: if one of them cannot be read, or they do not belong together.
        """
        table = AccuracyTable.read(path)
        return cls(path, table, named, read_outcomes(path, table))

    @property
    def identity(self) -> tuple[str, int]:
        """Recipe and seed; of two with the same budget, the one named by the caller counts."""
        return self.table.recipe, self.table.training.seed

    @property
    def budget(self) -> Budget | None:
        """The training budget that was asked for; None where epochs were."""
        return budget_of(self.table.training)

    @property
    def training(self) -> tuple[str, int, Budget | None]:
        """What tells the trained supernet from every other on the same data."""
        return *self.identity, self.budget

    @property
    def setting(self) -> Setting:
        """The setting that its numbers are of."""
        return Setting.of(self.table)

    @property
    def anchor(self) -> str:
        """Where the report describes it."""
        return f"accuracy-{slug(self.path.stem)}"


@dataclass(frozen=True, slots=True)
class LutSource:
    """A latency table and its file; `named`: by the caller, not found in a folder.

    `paper_device` is the one that it was asked for as, None where the paper has none such.
    """

    path: Path
    lut: Lut
    named: bool = False
    paper_device: paper.PaperDevice | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "paper_device", paper.device(self.device))

    @property
    def int8(self) -> bool:
        """Whether it is of quantised networks, whose accuracies are others."""
        return self.lut.protocol.dtype == "int8"

    @property
    def device(self) -> str:
        """The name that the table was asked for under."""
        return self.lut.device.requested

    @property
    def device_name(self) -> str:
        """What the name stands for, in the paper's words where it has some."""
        return self.paper_device.title if self.paper_device else self.device

    @property
    def is_papers_own(self) -> bool:
        """Whether its latencies are of the paper's own hardware."""
        own = self.lut.method == "published" or self.lut.device.matches is True
        return self.paper_device is not None and own

    @property
    def title(self) -> str:
        """What the device is called in headings, and how its latencies were obtained.

        A measured table is called after its hardware, unless that is known to be the paper's.
        """
        if self.lut.method == "measured" and not self.is_papers_own:
            hardware = self.lut.device.hardware or "other hardware"
            return f"{hardware} (measured as {self.device})"
        return f"{self.device_name} ({self.lut.method})"

    @property
    def anchor(self) -> str:
        """Where the report describes it."""
        return f"lut-{slug(self.path.stem)}"


@dataclass(frozen=True, slots=True)
class SettingResults:
    """The accuracy tables of one setting by recipe, in the paper's order, by budget and by seed.

    Every table and figure of the setting is made from this one grouping, or from the part of it
    that has one budget.
    """

    setting: Setting
    by_recipe: Mapping[str, tuple[AccuracySource, ...]]

    @classmethod
    def of(cls, setting: Setting, sources: Iterable[AccuracySource]) -> SettingResults:
        """Group the accuracy tables of `setting`."""
        ordered = sorted(sources, key=_row_order)
        groups = groupby(ordered, lambda source: source.identity[0])
        return cls(setting, MappingProxyType({recipe: tuple(group) for recipe, group in groups}))

    @property
    def sources(self) -> list[AccuracySource]:
        """Every accuracy table, by recipe and seed."""
        return [source for group in self.by_recipe.values() for source in group]

    @property
    def budgets(self) -> list[Budget]:
        """The training budgets that were asked for, ascending."""
        return sorted({source.budget for source in self.sources if source.budget is not None})

    def at(self, budget: Budget | None) -> SettingResults:
        """Those of one budget; with None, those whose epochs were given."""
        return SettingResults.of(self.setting, [s for s in self.sources if s.budget == budget])

    def of_recipe(self, recipe: str) -> tuple[AccuracySource, ...]:
        """The accuracy tables of a recipe, by seed; none where it was not trained."""
        return self.by_recipe.get(recipe, ())


def _row_order(source: AccuracySource) -> tuple[tuple[int, str], bool, Budget, int]:
    recipe, seed = source.identity
    budget = source.budget
    return paper.recipe_order(recipe), budget is not None, budget or Budget(0, "core-hours"), seed


@dataclass(frozen=True, slots=True)
class Collection:
    """Everything that was read, and where it was looked for."""

    accuracy: tuple[AccuracySource, ...]
    luts: tuple[LutSource, ...]
    accuracy_dir: Path
    luts_dir: Path

    @property
    def results(self) -> list[SettingResults]:
        """The accuracy tables of each setting, in the order of the settings' first files."""
        found: dict[Setting, list[AccuracySource]] = {}
        for source in self.accuracy:
            found.setdefault(source.setting, []).append(source)
        return [SettingResults.of(setting, sources) for setting, sources in found.items()]

    def of_device(self, device: str) -> list[LutSource]:
        """The latency tables that were asked for as `device`."""
        return [source for source in self.luts if source.device == device]

    def other_luts(self) -> list[LutSource]:
        """Latency tables of devices that are not in the paper."""
        return [source for source in self.luts if source.paper_device is None]


def collect(
    *,
    accuracy_dir: Path,
    luts_dir: Path,
    accuracy: Sequence[Path] = (),
    luts: Sequence[Path] = (),
) -> Collection:
    """Read the two folders (a missing one counts as empty) and the files named beside them.

    Raises:
        UserError: if a file cannot be read or holds something else than it should.
    """
    named_tables = [AccuracySource.read(path, named=True) for path in _unique(accuracy)]
    found_tables = [
        AccuracySource.read(path) for path in _files(accuracy_dir, AccuracyTable.SCHEMA, accuracy)
    ]
    taken = {(*source.training, source.setting.dataset) for source in named_tables}
    kept = [s for s in found_tables if (*s.training, s.setting.dataset) not in taken]
    _refuse_doubles(kept + named_tables)
    named_luts = [LutSource(path, Lut.read(path), named=True) for path in _unique(luts)]
    found_luts = [LutSource(path, Lut.read(path)) for path in _files(luts_dir, Lut.SCHEMA, luts)]
    devices = {source.device for source in named_luts}
    return Collection(
        accuracy=tuple(kept + named_tables),
        luts=tuple([s for s in found_luts if s.device not in devices] + named_luts),
        accuracy_dir=accuracy_dir,
        luts_dir=luts_dir,
    )


def _refuse_doubles(sources: Sequence[AccuracySource]) -> None:
    """Two tables of one supernet would be taken for two seeds."""
    seen: dict[tuple[str, int, Budget | None, Setting], Path] = {}
    for source in sources:
        key = (*source.training, source.setting)
        if key in seen:
            within = f" within {source.budget}" if source.budget else ""
            raise UserError(
                f"{seen[key]} and {source.path}: both are of {source.table.recipe} seed "
                f"{source.table.training.seed}{within} on the same data; keep one"
            )
        seen[key] = source.path


def require_accuracy(collection: Collection) -> None:
    """Raises: UserError if there is no accuracy table at all, saying how to make one."""
    if not collection.accuracy:
        raise UserError(
            f"{collection.accuracy_dir}: no accuracy table there and none named; make one with "
            f"fofa-eval RUN --out {collection.accuracy_dir / 'NAME.json'}"
        )


def slug(text: str) -> str:
    """`text` as part of a file name or an HTML id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "table"


def _files(folder: Path, schema: str, named: Iterable[Path]) -> list[Path]:
    """JSON files of `folder` in the order of their names, without those named by the caller.

    Side files of another schema of ours and JSON schemas are passed over; anything else is read,
    so that a damaged table is an error and not a missing row.
    """
    skipped = {path.resolve() for path in named}
    chosen = []
    for path in sorted(folder.glob("*.json")):
        if path.name.startswith(".") or path.resolve() in skipped:
            continue
        data = read_json(path)
        if isinstance(data, dict):
            kind = str(data.get("schema", ""))
            if "$schema" in data or (kind.startswith("fofa.") and not _is_kind(kind, schema)):
                continue
        chosen.append(path)
    return chosen


def _is_kind(kind: str, schema: str) -> bool:
    return kind.partition("/")[0] == schema


T = TypeVar("T")


def _unique(items: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(items))
