"""From what was read to the tables and figures that were asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.tables import paper
from bench.tables.collect import (
    Collection,
    LutSource,
    Setting,
    SettingResults,
    require_accuracy,
    slug,
)
from bench.tables.cost import cost_table
from bench.tables.devices import PairedDevice, WantedLimits, pair_device
from bench.tables.latency import latency_table
from bench.tables.model import Table
from fofa.errors import UserError

if TYPE_CHECKING:
    from bench.figures.style import Figure

COST_TABLE = "2"
OTHER_TABLES = "other"
TABLES = (COST_TABLE, "3", "4", "5", OTHER_TABLES)
FIGURES = ("1", "4")
TITLES = {
    "2": "Table 2: training cost and mean top-1 accuracy",
    "3": "Table 3: top-1 accuracy within latency limits, Samsung Note10",
    "4": "Table 4: top-1 accuracy within latency limits, GPU platforms",
    "5": "Table 5: top-1 accuracy within latency limits, AMD EPYC 7763 CPU",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A table, or a figure without one, with the figures that belong to it."""

    table: Table | None
    figures: tuple[Figure, ...] = ()


@dataclass(slots=True)
class Report:
    """Everything that was made, in order; `notes` say what is missing and why."""

    collection: Collection
    sections: list[Section] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def tables(self) -> list[Table]:
        """Every table, in order."""
        return [section.table for section in self.sections if section.table is not None]

    @property
    def figures(self) -> list[Figure]:
        """Every figure, in order."""
        return [figure for section in self.sections for figure in section.figures]


def parse_choice(text: str, known: Sequence[str], what: str) -> list[str]:
    """The comma-separated choices in `text`, in the order of `known`; empty for `none`.

    Raises:
        UserError: if one of them is not known.
    """
    if text.strip() in ("", "none"):
        return []
    wanted = {part.strip() for part in text.split(",") if part.strip()}
    unknown = sorted(wanted - set(known))
    if unknown:
        raise UserError(
            f"{what} {', '.join(unknown)}: expected some of {', '.join(known)}, or none"
        )
    return [name for name in known if name in wanted]


def build(
    collection: Collection,
    *,
    tables: Sequence[str],
    figures: Sequence[str],
    limits: WantedLimits,
) -> Report:
    """The tables and figures called `tables` and `figures`, for every setting of the accuracies.

    A latency table of another device that the caller named gets its table in any case.

    Raises:
        UserError: if the tables that one of them needs are not there, saying how to make them.
    """
    report = Report(collection)
    named = [source for source in collection.other_luts() if source.named]
    if tables or named or "4" in figures:
        require_accuracy(collection)
    for name in tables:
        if name == COST_TABLE:
            _add_cost_tables(report)
    if "1" in figures:
        from bench.figures.charts import schedules_figure

        report.sections.append(Section(None, (schedules_figure("figure1"),)))
    for name in tables:
        if name == OTHER_TABLES:
            for source in collection.other_luts():
                _add_latency_tables(report, name, [source], limits)
        elif name != COST_TABLE:
            _add_latency_tables(report, name, _luts_of_table(report, int(name)), limits)
    if OTHER_TABLES not in tables:
        for source in named:
            _add_latency_tables(report, OTHER_TABLES, [source], limits)
    if "4" in figures:
        _add_tradeoffs(report)
    return report


def _suffix(report: Report, setting: Setting) -> tuple[str, str]:
    """What tells a setting's tables from those of the others: for names and for titles."""
    settings = [results.setting for results in report.collection.results]
    if len(settings) == 1:
        return "", ""
    short = slug(setting.preset or setting.dataset)
    alike = [s for s in settings if slug(s.preset or s.dataset) == short]
    number = f"-{alike.index(setting) + 1}" if len(alike) > 1 else ""
    return f"-{short}{number}", f" ({setting.name})"


def _add_cost_tables(report: Report) -> None:
    for results in report.collection.results:
        name, title = _suffix(report, results.setting)
        table = cost_table(f"table2{name}", TITLES[COST_TABLE] + title, results)
        report.sections.append(Section(table))


def _luts_of_table(report: Report, number: int) -> list[LutSource]:
    """The latency tables of one of the paper's tables.

    Raises:
        UserError: if there is none of any of its devices, naming the file and the command.
    """
    wanted = paper.devices_of_table(number)
    found = [source for entry in wanted for source in report.collection.of_device(entry.device)]
    if not found:
        hints = [_hint(report, entry) for entry in wanted]
        raise UserError(f"table {number} needs a latency table: {' or '.join(hints)}")
    return found


def _hint(report: Report, entry: paper.PaperDevice) -> str:
    path = report.collection.luts_dir / f"{entry.device}.json"
    return f"no table of {entry.device}; make {path} with fofa-profile --device {entry.device} " + (
        f"--out {path}"
    )


def _add_latency_tables(
    report: Report, name: str, luts: Sequence[LutSource], limits: WantedLimits
) -> None:
    """One table per setting that fits any of the devices, each with its Pareto fronts."""
    missing = []
    if name != OTHER_TABLES:
        present = {source.device for source in luts}
        missing = [
            f"Missing: {_hint(report, entry)}"
            for entry in paper.devices_of_table(int(name))
            if entry.device not in present
        ]
    problems: list[str] = []
    added = False
    for results in report.collection.results:
        devices, faults = _pair_all(luts, results, limits)
        problems += faults
        if devices:
            _add_table(report, name, results, devices, [*missing, *faults])
            added = True
    if not added:
        raise UserError(problems[0])
    report.notes += [*missing, *problems]


def _pair_all(
    luts: Sequence[LutSource], results: SettingResults, limits: WantedLimits
) -> tuple[list[PairedDevice], list[str]]:
    devices, problems = [], []
    titles = Counter(source.title for source in luts)
    for source in luts:
        title = source.title
        if titles[title] > 1:
            title += f", {source.path.stem}"
        try:
            devices.append(pair_device(source, results, limits, title))
        except UserError as error:
            problems.append(str(error))
    return devices, problems


def _add_table(
    report: Report,
    name: str,
    results: SettingResults,
    devices: Sequence[PairedDevice],
    missing: Sequence[str],
) -> None:
    from bench.figures.charts import pareto_figure

    suffix, title_suffix = _suffix(report, results.setting)
    if name == OTHER_TABLES:
        stem = slug(devices[0].source.path.stem)
        title = f"Top-1 accuracy within latency limits, {devices[0].title}{title_suffix}"
        file_name = f"table-{stem}{suffix}"
    else:
        title, file_name = TITLES[name] + title_suffix, f"table{name}{suffix}"
    table = latency_table(file_name, title, results, devices, missing)
    fronts = tuple(
        pareto_figure(f"pareto-{slug(device.source.path.stem)}{suffix}", results, device)
        for device in devices
    )
    report.sections.append(Section(table, fronts))


def _add_tradeoffs(report: Report) -> None:
    from bench.figures.charts import TRADEOFF_RECIPES, tradeoff_figure

    for results in report.collection.results:
        suffix, _ = _suffix(report, results.setting)
        figure = tradeoff_figure(f"figure4{suffix}", results)
        if figure is None:
            name, wanted = results.setting.name, " and ".join(TRADEOFF_RECIPES)
            report.notes.append(f"Figure 4 of {name}: no accuracy table of {wanted}.")
        else:
            report.sections.append(Section(None, (figure,)))
