"""Figure 1: the training schedules, drawn from the recipes themselves."""

from __future__ import annotations

import re

from bench.figures.style import PAPER, Figure, canvas, finish
from bench.tables import paper
from fofa.recipes import RECIPES, Phase

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


def schedules_figure(name: str) -> Figure:
    """One bar per recipe; length is the number of epochs, unscaled."""
    recipes = [make() for make in RECIPES.values()]
    recipes.sort(key=lambda recipe: paper.recipe_order(recipe.name))
    with canvas(height=3.6) as (drawn, axes):
        shown: dict[str, str] = {}
        for row, recipe in enumerate(recipes):
            start = 0.0
            for phase in recipe.phases:
                kind = _kind(phase)
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
                    _numbers(phase),
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


def _numbers(phase: Phase) -> str:
    if phase.total_epochs < NARROW:
        return ""
    epochs = f"{phase.total_epochs:g}" if phase.total_epochs >= WIDE else ""
    return f"{epochs}×{phase.num_subnets}"


def _kind(phase: Phase) -> str:
    """`depth-1` and `depth-2` are the two parts of one kind of phase."""
    return re.sub(r"-[0-9]+$", "", phase.name)
