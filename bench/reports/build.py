"""From what was read to the tables and figures that were asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.reports.formats import architecture_text
from bench.tables import paper
from bench.tables.captions import sizes_text
from bench.tables.collect import (
    Collection,
    LutSource,
    Setting,
    SettingResults,
    require_accuracy,
    slug,
)
from bench.tables.cost import cost_table
from bench.tables.cost_curve import cost_curves, ratio_table
from bench.tables.devices import PairedDevice, WantedLimits, pair_device
from bench.tables.equal_budget import equal_budget_table
from bench.tables.latency import latency_table
from bench.tables.model import Table
from bench.tables.rivals import Rivals, rivals_table
from bench.tables.rows import WantedRows, for_limits, for_means
from bench.tables.transfer import transfer_matrix, transfer_table
from fofa.errors import UserError

if TYPE_CHECKING:
    from bench.figures.interactive import InteractiveFront
    from bench.figures.style import Figure

COST_TABLE = "2"
OTHER_TABLES = "other"
TABLES = (COST_TABLE, "3", "4", "5", OTHER_TABLES)
COST_FIGURE = "cost"
FIGURES = ("1", "4", COST_FIGURE)
TITLES = {
    "2": "Table 2: training cost and mean top-1 accuracy",
    "budget": "Table 2, second half: mean top-1 accuracy at equal training budget",
    "ratios": "Cost ratios: what the same accuracy costs with each recipe",
    "devices": "Devices: what a network chosen for one costs on another",
    "devices-map": "Map of the devices: points of top-1 lost with another device's network",
    "3": "Table 3: top-1 accuracy within latency limits, Samsung Note10",
    "4": "Table 4: top-1 accuracy within latency limits, GPU platforms",
    "5": "Table 5: top-1 accuracy within latency limits, AMD EPYC 7763 CPU",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A table, or a figure without one, with the figures that belong to it.

    `fronts` are figures of the table's devices once more, for a page that can answer. Figures are
    `starred` if they show rivals, which fronts do not.
    """

    table: Table | None
    figures: tuple[Figure, ...] = ()
    fronts: tuple[InteractiveFront, ...] = ()
    starred: bool = False


@dataclass(frozen=True, slots=True)
class WantedMatrix:
    """The matrix of devices, for the accuracy of `recipe`; None for the most accurate one's."""

    recipe: str | None = None


@dataclass(slots=True)
class Report:
    """Everything that was made, in order; `notes` say what is missing and why.

    `rivals` are compared with the fronts that they fit, and then are in `compared`, too.
    """

    collection: Collection
    rivals: Sequence[Rivals] = ()
    compared: list[Rivals] = field(default_factory=list)
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

    @property
    def fronts(self) -> list[InteractiveFront]:
        """The interactive front of every device, in order."""
        return [front for section in self.sections for front in section.fronts]


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
    rows: WantedRows | None = None,
    matrix: WantedMatrix | None = None,
    rivals: Sequence[Rivals] = (),
) -> Report:
    """The tables and figures called `tables` and `figures`, for every setting of the accuracies.

    A latency table of another device that the caller named gets its table in any case.

    Args:
        rows: the trainings that Tables 3 to 5, Figure 4, the Pareto fronts and the matrix compare.
        matrix: makes the matrix of devices, too.
        rivals: networks to compare with the fronts of their device and data set.

    Raises:
        UserError: if the tables that one of them needs are not there, saying how to make them, or
            there is no front to compare rivals with.
    """
    report = Report(collection, rivals)
    rows = rows or WantedRows()
    named = [source for source in collection.other_luts() if source.named]
    if tables or named or matrix or {"4", COST_FIGURE} & {*figures}:
        require_accuracy(collection)
    if COST_TABLE in tables:
        _add_cost_tables(report)
    if COST_FIGURE in figures:
        _add_cost_figures(report)
    if "1" in figures:
        from bench.figures.charts import schedules_figure

        report.sections.append(Section(None, (schedules_figure("figure1"),)))
    wanted = [name for name in tables if name not in (COST_TABLE, OTHER_TABLES)]
    chosen = [(name, _luts_of_table(report, int(name))) for name in wanted]
    others = collection.other_luts() if OTHER_TABLES in tables else named
    chosen += [(OTHER_TABLES, [source]) for source in others]
    compared = _compared(report, for_limits(collection.results), rows) if chosen or matrix else []
    _add_all_latency_tables(report, chosen, limits, compared)
    if "4" in figures:
        _add_tradeoffs(report, _compared(report, _about_training(report), rows))
    if matrix is not None:
        _add_matrices(report, matrix, compared)
    for file in rivals:
        if file not in report.compared:
            raise UserError(
                f"--rivals: no front of {file.device} on {file.dataset} is made here; name its "
                "latency table with --lut and the accuracy with --accuracy"
            )
    return report


def _compared(
    report: Report, found: Sequence[SettingResults], rows: WantedRows
) -> list[SettingResults]:
    """The trainings to compare in each setting; settings without such are a note.

    Raises:
        UserError: if no setting has any.
    """
    compared, problems = [], []
    for results in found:
        try:
            compared.append(rows.of(results))
        except UserError as error:
            problems.append(str(error))
    if not compared and problems:
        raise UserError(problems[0])
    report.notes += problems
    return compared


def _suffix(shown: Sequence[SettingResults], setting: Setting) -> tuple[str, str]:
    """What tells a setting's tables from those of the others: for names and for titles.

    Int8 has names of its own, so that those of the others do not depend on whether it is there.
    """
    if setting.int8:
        floats = [r.setting.model_copy(update={"int8": False}) for r in shown if r.setting.int8]
        suffix, _ = _suffix_among(floats, setting.model_copy(update={"int8": False}))
        return f"{suffix}-int8", f" ({setting.name})"
    return _suffix_among([r.setting for r in shown if not r.setting.int8], setting)


def _ended(stem: str, suffix: str) -> str:
    """A name with its suffix; what says int8 already does not say it twice."""
    return stem + (suffix.removesuffix("-int8") if stem.endswith("-int8") else suffix)


def _suffix_among(settings: Sequence[Setting], setting: Setting) -> tuple[str, str]:
    if len(settings) == 1:
        return "", ""
    short = slug(setting.preset or setting.dataset)
    alike = [s for s in settings if slug(s.preset or s.dataset) == short]
    number = f"-{alike.index(setting) + 1}" if len(alike) > 1 else ""
    name = setting.name
    if [s.name for s in settings].count(name) > 1:
        name += f", {sizes_text(setting.resolutions)}, {setting.test_images:,} images"
    return f"-{short}{number}", f" ({name})"


def _about_training(report: Report) -> list[SettingResults]:
    """What Table 2, the cost curve and Figure 4 are of; int8, which trains nothing, if alone."""
    shown = for_means(report.collection.results)
    return [results for results in shown if not results.setting.int8] or shown


def _add_cost_tables(report: Report) -> None:
    shown = _about_training(report)
    for results in shown:
        name, title = _suffix(shown, results.setting)
        table = cost_table(f"table2{name}", TITLES[COST_TABLE] + title, results)
        report.sections.append(Section(table))
        second = equal_budget_table(f"table2-budget{name}", TITLES["budget"] + title, results)
        if second is not None:
            report.sections.append(Section(second))


def _add_cost_figures(report: Report) -> None:
    from bench.figures.cost import cost_figure

    shown = _about_training(report)
    for results in shown:
        name, title = _suffix(shown, results.setting)
        curves = cost_curves(results)
        if curves is None:
            report.notes.append(f"Figure cost of {results.setting.name}: no cost was recorded.")
            continue
        ratios = ratio_table(f"cost-ratios{name}", TITLES["ratios"] + title, results, curves)
        report.sections.append(Section(ratios, (cost_figure(f"cost{name}", results, curves),)))


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


def _add_all_latency_tables(
    report: Report,
    chosen: Sequence[tuple[str, Sequence[LutSource]]],
    limits: WantedLimits,
    compared: Sequence[SettingResults],
) -> None:
    """The tables of `chosen`, by name.

    A further device that was only found in the folder, and fits no accuracy table (an int8 one
    beside accuracies in fp32), is a note, as long as another one fits.

    Raises:
        UserError: if one of the paper's tables, a named device's or all further ones have no row.
    """
    left_out, others = [], 0
    for name, luts in chosen:
        is_other = name == OTHER_TABLES
        problems = _add_latency_tables(report, name, luts, limits, compared)
        if problems and (not is_other or luts[0].named):
            raise UserError(problems[0])
        left_out += problems
        others += is_other and not problems
    if left_out and not others:
        raise UserError(left_out[0])
    report.notes += left_out


def _add_latency_tables(
    report: Report,
    name: str,
    luts: Sequence[LutSource],
    limits: WantedLimits,
    compared: Sequence[SettingResults],
) -> list[str]:
    """One table per setting that fits any of the devices, each with its Pareto fronts.

    Returns:
        where there is none, why; else nothing, and what is missing is a note.
    """
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
    types = {results.setting.int8 for results in compared}
    for results in compared:
        # What no accuracy is of the number type of is tried all the same, for the reason.
        own = [source for source in luts if source.int8 == results.setting.int8 or len(types) == 1]
        devices, faults = _pair_all(own, results, limits)
        problems += faults
        if devices:
            ending = _suffix(compared, results.setting)
            _add_table(report, name, ending, results, devices, [*missing, *faults])
            added = True
    if not added:
        return problems
    report.notes += [*missing, *problems]
    return []


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
    ending: tuple[str, str],
    results: SettingResults,
    devices: Sequence[PairedDevice],
    missing: Sequence[str],
) -> None:
    from bench.figures.charts import pareto_figure
    from bench.figures.interactive import interactive_front

    suffix, title_suffix = ending
    if results.budgets:
        title_suffix += f", budget {results.budgets[0]}"
    if name == OTHER_TABLES:
        stem = slug(devices[0].source.path.stem)
        title = f"Top-1 accuracy within latency limits, {devices[0].title}{title_suffix}"
        file_name = f"table-{_ended(stem, suffix)}"
    else:
        title, file_name = TITLES[name] + title_suffix, f"table{name}{suffix}"
    table = latency_table(file_name, title, results, devices, missing)
    names = [_ended(slug(device.source.path.stem), suffix) for device in devices]
    fitting = [[file for file in report.rivals if file.fits(results, d)] for d in devices]
    rivals = [[rival for file in files for rival in file.rivals] for files in fitting]
    report.compared += [file for files in fitting for file in files]
    figures = [
        pareto_figure(f"pareto-{each}", results, device, own)
        for each, device, own in zip(names, devices, rivals, strict=True)
    ]
    fronts = [
        interactive_front(f"front-{each}", results, device, architecture_text)
        for each, device in zip(names, devices, strict=True)
    ]
    report.sections.append(Section(table, tuple(figures), tuple(fronts), starred=any(rivals)))
    for each, device, own in zip(names, devices, rivals, strict=True):
        if own:
            against = f"Rivals on {device.title}{title_suffix}"
            report.sections.append(
                Section(rivals_table(f"rivals-{each}", against, own, results, device))
            )


def _add_tradeoffs(report: Report, compared: Sequence[SettingResults]) -> None:
    from bench.figures.charts import TRADEOFF_RECIPES, tradeoff_figure

    for results in compared:
        suffix, _ = _suffix(compared, results.setting)
        figure = tradeoff_figure(f"figure4{suffix}", results)
        if figure is None:
            name, wanted = results.setting.name, " and ".join(TRADEOFF_RECIPES)
            report.notes.append(f"Figure 4 of {name}: no accuracy table of {wanted}.")
        else:
            report.sections.append(Section(None, (figure,)))


def _add_matrices(report: Report, wanted: WantedMatrix, compared: Sequence[SettingResults]) -> None:
    """A matrix for every setting that has one; an int8 setting has its part in the other's.

    Raises:
        UserError: if none has, with the first reason.
    """
    from bench.figures.transfer import transfer_figure

    problems = []
    types = {results.setting.int8 for results in compared}
    compared = [results for results in compared if not results.setting.int8 or len(types) == 1]
    for results in compared:
        suffix, title_suffix = _suffix(compared, results.setting)
        try:
            matrix = transfer_matrix(
                results,
                report.collection.luts,
                wanted.recipe,
                others=report.collection.accuracy,
            )
        except UserError as error:
            problems.append(str(error))
            continue
        title, map_title = TITLES["devices"] + title_suffix, TITLES["devices-map"] + title_suffix
        table = transfer_table(f"devices{suffix}", title, matrix)
        figure = transfer_figure(f"devices{suffix}-map", map_title, matrix)
        report.sections.append(Section(table, (figure,)))
    if len(problems) == len(compared):
        raise UserError(problems[0])
    report.notes += problems
