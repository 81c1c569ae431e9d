"""The figures: Figure 1 (schedules), Figure 4 (multiply-adds) and the Pareto front of a device."""

from __future__ import annotations

import re
from collections.abc import Sequence

from matplotlib.axes import Axes

from bench.figures.style import INK, PAPER, Figure, canvas, drawn_label, finish, recipe_colour
from bench.tables import captions, paper
from bench.tables.collect import AccuracySource, Setting, SettingResults
from bench.tables.devices import PairedDevice
from fofa.accuracy import AccuracyTable, ArchitectureAccuracy
from fofa.recipes import RECIPES, Phase
from fofa.search.exact import pareto_front
from fofa.search.pairing import Candidates

PHASE_COLOURS = {
    "teacher": "#8a94a0",
    "kernel": "#8f5be8",
    "depth": "#12a5b8",
    "expand": "#22a04b",
    "compound": "#ef7d0c",
    "warmup": "#d6408f",
    "distillation": "#2b7de0",
}
OTHER_COLOUR = "#a8763e"
WIDE, NARROW = 60, 20
"""Epochs from which both of a phase's numbers, or only its subnets, fit into its bar."""
TRADEOFF_RECIPES = ("compofa", "fofa-n4")


def schedules_figure(name: str) -> Figure:
    """Figure 1, drawn from the recipes themselves: a bar each, as long as its epochs, unscaled."""
    recipes = [make() for make in RECIPES.values()]
    recipes.sort(key=lambda recipe: paper.recipe_order(recipe.name))
    with canvas(height=3.6) as (drawn, axes):
        shown: dict[str, str] = {}
        for row, recipe in enumerate(recipes):
            start = 0.0
            for phase in recipe.phases:
                kind = _phase_kind(phase)
                colour = PHASE_COLOURS.get(kind, OTHER_COLOUR)
                axes.barh(
                    row,
                    phase.total_epochs,
                    left=start,
                    height=0.6,
                    color=colour,
                    edgecolor=PAPER,
                    label=None if kind in shown else kind,
                )
                shown[kind] = colour
                axes.text(
                    start + phase.total_epochs / 2,
                    row,
                    _phase_numbers(phase),
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="#ffffff",
                )
                start += phase.total_epochs
            axes.text(start + 4, row, f"{recipe.epochs:g}", va="center", fontsize=9)
        axes.set_yticks(range(len(recipes)), [paper.label(recipe.name) for recipe in recipes])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("epochs")
        axes.legend(loc="lower right", fontsize=8, ncols=2)
        return finish(
            drawn,
            name,
            "Figure 1: training schedules",
            (
                "Drawn from the recipes as the trainer runs them, before any scaling of epochs. In "
                "the bars: epochs × subnets per step; at the end: epochs in all.",
            ),
        )


def _phase_numbers(phase: Phase) -> str:
    if phase.total_epochs < NARROW:
        return ""
    epochs = f"{phase.total_epochs:g}" if phase.total_epochs >= WIDE else ""
    return f"{epochs}×{phase.num_subnets}"


def _phase_kind(phase: Phase) -> str:
    """`depth-1` and `depth-2` are the two parts of one kind of phase."""
    return re.sub(r"-[0-9]+$", "", phase.name)


def tradeoff_figure(name: str, results: SettingResults) -> Figure | None:
    """Figure 4: multiply-adds and top-1 of the 243 subnets of CompOFA and of fOFA with n=4.

    Drawn at the setting's largest resolution, of the first seed of each recipe. None if neither
    recipe has an accuracy table; with one of them, the caption names the other.
    """
    setting, groups = results.setting, results.by_recipe
    present = {recipe: groups[recipe][0] for recipe in TRADEOFF_RECIPES if recipe in groups}
    if not present:
        return None
    resolution = max(setting.resolutions)
    title = f"Figure 4: multiply-adds and accuracy of the compound subnets at {resolution} px"
    with canvas() as (drawn, axes):
        for recipe, source in present.items():
            rows = _rows(source.table, resolution)
            axes.scatter(
                [row.macs / 1e6 for row in rows],
                [row.top1 for row in rows],
                s=14,
                alpha=0.75,
                linewidths=0,
                color=recipe_colour(recipe, TRADEOFF_RECIPES),
                label=drawn_label(paper.label(recipe)),
            )
        axes.set_xlabel(f"multiply-adds at {resolution} px (millions)")
        axes.set_ylabel(f"top-1 on {drawn_label(setting.dataset)} (%)")
        axes.legend(loc="lower right")
        return finish(drawn, name, title, _tradeoff_caption(setting, present, resolution))


def _rows(table: AccuracyTable, resolution: int) -> list[ArchitectureAccuracy]:
    return [row for row in table.architectures if row.architecture.resolution == resolution]


def _tradeoff_caption(
    setting: Setting, present: dict[str, AccuracySource], resolution: int
) -> list[str]:
    sentences = [
        f"{paper.label(recipe)}: {len(_rows(source.table, resolution))} subnets, "
        f"{_smallest(source.table, resolution)}seed {source.table.training.seed}."
        for recipe, source in present.items()
    ]
    sentences += [
        f"{paper.label(recipe)} is missing: it has no accuracy table."
        for recipe in TRADEOFF_RECIPES
        if recipe not in present
    ]
    sentences.append(captions.accuracy_sentence(setting, list(present.values())))
    sentences.append(
        "In the paper the smallest subnet gains 0.9 points with fOFA, the mean 0.1 points."
    )
    return sentences


def _smallest(table: AccuracyTable, resolution: int) -> str:
    rows = _rows(table, resolution)
    if not rows:
        return ""
    row = min(rows, key=lambda entry: (entry.macs, entry.name))
    return f"the smallest ({row.name}) at {row.top1:.2f}%, "


def pareto_figure(name: str, results: SettingResults, device: PairedDevice) -> Figure:
    """What accuracy a latency buys: the Pareto front of the first seed of each recipe."""
    firsts: dict[str, AccuracySource] = {}
    for source in results.sources:
        if source.anchor in device.candidates:
            firsts.setdefault(source.table.recipe, source)
    title = f"Pareto fronts on {device.title}"
    with canvas() as (drawn, axes):
        for recipe, source in firsts.items():
            _draw_front(
                axes,
                device.candidates[source.anchor],
                recipe_colour(recipe, list(firsts)),
                drawn_label(paper.label(recipe)),
            )
        for limit in device.limits.values_ms:
            axes.axvline(limit, color=INK, linewidth=0.8, linestyle=":", zorder=1)
        axes.set_xlabel(f"latency of a batch of {device.source.lut.protocol.batch_size} (ms)")
        axes.set_ylabel(f"top-1 on {drawn_label(results.setting.dataset)} (%)")
        axes.legend(loc="lower right")
        return finish(
            drawn, name, title, _pareto_caption(results.setting, list(firsts.values()), device)
        )


def _draw_front(axes: Axes, candidates: Candidates, colour: str, label: str) -> None:
    rows = pareto_front(candidates.top1, candidates.latency_ms, candidates.architectures)
    axes.plot(
        candidates.latency_ms[rows],
        candidates.top1[rows],
        drawstyle="steps-post",
        marker="o",
        markersize=3,
        linewidth=1.4,
        color=colour,
        label=label,
    )


def _pareto_caption(
    setting: Setting, sources: Sequence[AccuracySource], device: PairedDevice
) -> list[str]:
    seeds = ", ".join(f"{s.table.recipe} {s.table.training.seed}" for s in sources)
    return [
        f"Architectures that no other of the same supernet beats. Dotted: the limits of the table. "
        f"Seeds: {seeds}.",
        *captions.latency_sentences(device.source),
        *device.notes,
        captions.accuracy_sentence(setting, sources),
    ]
