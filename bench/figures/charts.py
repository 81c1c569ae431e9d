"""The figures: Figure 1 (schedules), Figure 4 (multiply-adds) and the Pareto front of a device."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from bench.figures.style import (
    INK,
    PAPER,
    Figure,
    canvas,
    drawn_label,
    finish,
    legend_above,
    recipe_colour,
    recipe_marker,
)
from bench.tables import captions, paper
from bench.tables.collect import SettingResults
from bench.tables.devices import PairedDevice
from bench.tables.fronts import FrontLine, front_lines
from bench.tables.rivals import Rival
from bench.tables.trend import RELIABILITY, SubnetMeans
from fofa.recipes import RECIPES, Phase

PHASE_COLOURS = {
    "teacher": "#8a94a0",
    "kernel": "#8f5be8",
    "depth": "#12a5b8",
    "expand": "#22a04b",
    "compound": "#ef7d0c",
    "warmup": "#d6408f",
    "distillation": "#2b7de0",
    "sampling": "#a8763e",
    "smallest": "#e5534b",
}
OTHER_COLOUR = "#5c6bc0"
WIDE, NARROW = 60, 20
"""Epochs from which both of a phase's numbers, or only its subnets, fit into its bar."""
TRADEOFF_RECIPES = ("compofa", "fofa-n4")
"""The paper's Figure 4 compares these."""
BESIDE_TRADEOFF = ("fofa-n3", "naive", "smallest-first")
"""Set beside them where they were trained: the paper's cheapest, its baseline, and our own."""
NEAR = (0.3, 0.025)
"""Shares of width and height within which two rivals' names would overlap."""
LINE = 8
"""Points from one of those names to the next."""


def schedules_figure(name: str) -> Figure:
    """Figure 1, drawn from the recipes themselves: a bar each, as long as its epochs, unscaled."""
    recipes = [make() for make in RECIPES.values()]
    recipes.sort(key=lambda recipe: paper.recipe_order(recipe.name))
    with canvas(height=3.4) as (drawn, axes):
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
        legend_above(drawn, axes)
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
    """Figure 4: multiply-adds and top-1 of the 243 subnets of CompOFA, of fOFA with n=4 and others.

    Drawn at the setting's largest resolution, means over the seeds of each recipe. None if there is
    no accuracy table of any; the caption names those of the paper's two that are missing.
    """
    setting, resolution = results.setting, max(results.setting.resolutions)
    present = {
        recipe: SubnetMeans.of(results.by_recipe[recipe], resolution)
        for recipe in (*TRADEOFF_RECIPES, *BESIDE_TRADEOFF)
        if recipe in results.by_recipe
    }
    if not present:
        return None
    title = f"Figure 4: multiply-adds and accuracy of the compound subnets at {resolution} px"
    with canvas() as (drawn, axes):
        for recipe, means in present.items():
            colour = recipe_colour(recipe, [*present])
            axes.scatter(
                means.macs / 1e6,
                means.top1,
                s=14,
                alpha=0.6,
                linewidths=0,
                color=colour,
                marker=recipe_marker(recipe, [*present]),
                label=drawn_label(paper.label(recipe)),
            )
            if (trend := means.trend()) is not None:
                ends = means.macs[[0, -1]]
                axes.plot(ends / 1e6, trend.at(ends), color=colour, linewidth=2)
        axes.set_xlabel(f"multiply-adds at {resolution} px (millions)")
        axes.set_ylabel(f"top-1 on {drawn_label(setting.dataset)} (%)")
        legend_above(drawn, axes)
        return finish(drawn, name, title, _tradeoff_caption(results, present))


def _tradeoff_caption(results: SettingResults, present: dict[str, SubnetMeans]) -> list[str]:
    sentences = []
    for recipe, means in present.items():
        seeds = f"mean of {means.seeds} seeds" if means.seeds > 1 else "one seed"
        smallest = (
            f", the smallest ({means.names[0]}) at {means.top1[0]:.2f}%" if means.names else ""
        )
        trend = means.trend()
        of_size = "" if trend is None else f"; correlation of size and top-1 {trend.text}"
        sentences.append(
            f"{paper.label(recipe)}: {len(means.names)} subnets, {seeds}{smallest}{of_size}."
        )
    sentences += [
        f"{paper.label(recipe)} is missing: it has no accuracy table."
        for recipe in TRADEOFF_RECIPES
        if recipe not in present
    ]
    sources = [source for recipe in present for source in results.of_recipe(recipe)]
    return [
        *sentences,
        "Lines: least squares.",
        *([RELIABILITY] if any(means.right is not None for means in present.values()) else []),
        captions.accuracy_sentence(results.setting, sources),
        "In the paper the smallest subnet gains 0.9 points with fOFA, the mean 0.1 points.",
    ]


def pareto_figure(
    name: str, results: SettingResults, device: PairedDevice, rivals: Sequence[Rival] = ()
) -> Figure:
    """What accuracy a latency buys: the best within it, as the mean over the seeds of a recipe.

    At a limit of the device's table, the lines stand at the table's numbers. Rivals are points.
    """
    lines = front_lines(results, device)
    recipes = [line.recipe for line in lines]
    title = f"Pareto fronts on {device.title}"
    with canvas(height=4.0) as (drawn, axes):
        for line in lines:
            axes.plot(
                [step.latency_ms for step in line.steps],
                [step.top1 for step in line.steps],
                drawstyle="steps-post",
                marker=recipe_marker(line.recipe, recipes),
                markersize=3.5,
                linewidth=1.4,
                color=recipe_colour(line.recipe, recipes),
                label=drawn_label(line.label),
            )
        _draw_rivals(axes, rivals, lines)
        for limit in device.limits.values_ms:
            axes.axvline(limit, color=INK, linewidth=0.8, linestyle=":", zorder=1)
        axes.set_xlabel(f"latency of a batch of {device.source.lut.protocol.batch_size} (ms)")
        axes.set_ylabel(f"top-1 on {drawn_label(results.setting.dataset)} (%)")
        legend_above(drawn, axes)
        return finish(drawn, name, title, _pareto_caption(results, lines, device, rivals))


def _draw_rivals(axes: Axes, rivals: Sequence[Rival], lines: Sequence[FrontLine]) -> None:
    """Stars with names: above the lines or beside the star, names of stars in one place stacked."""
    steps = [step for line in lines for step in line.steps]
    named: list[np.ndarray] = []
    for rival in rivals:
        axes.plot(rival.latency_ms, rival.top1, marker="*", markersize=9, color=INK, linestyle="")
    axes.autoscale_view()
    for rival in rivals:
        place = (rival.latency_ms, rival.top1)
        at = axes.transAxes.inverted().transform(axes.transData.transform(place))
        others = sum(bool(np.all(np.abs(at - other) < NEAR)) for other in named)
        named.append(at)
        faster = [step for step in steps if step.latency_ms <= rival.latency_ms]
        ahead = all(step.top1 < rival.top1 for step in faster)
        axes.annotate(
            drawn_label(rival.name),
            place,
            xytext=(0, 6 + LINE * others) if ahead else (6, -4 - LINE * others),
            horizontalalignment="center" if ahead else "left",
            textcoords="offset points",
            fontsize=7,
        )


def _pareto_caption(
    results: SettingResults,
    lines: Sequence[FrontLine],
    device: PairedDevice,
    rivals: Sequence[Rival],
) -> list[str]:
    seeds = ", ".join(
        f"{line.label} {', '.join(str(source.table.training.seed) for source in line.sources)}"
        for line in lines
    )
    return [
        "The best top-1 of any architecture within a latency, the mean over seeds where there are "
        f"several. Dotted: the limits of the table. Seeds: {seeds}.",
        *(["Stars: rivals, as their file says."] if rivals else []),
        *captions.latency_sentences(device.source),
        *device.notes,
        captions.accuracy_sentence(
            results.setting, [source for line in lines for source in line.sources]
        ),
    ]
