"""The figure "cost": what accuracy a training cost buys, a line for every recipe."""

from __future__ import annotations

from matplotlib.ticker import FuncFormatter, NullLocator

from bench.figures.style import (
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
from bench.tables.cost import subnets_sentence
from bench.tables.cost_curve import Curves


def cost_figure(name: str, results: SettingResults, curves: Curves) -> Figure:
    """Mean top-1 against hours of training: the mean over seeds, and the band that seeds fill."""
    setting = results.setting
    title = f"Cost curve: mean top-1 at {max(setting.resolutions)} px against training cost"
    recipes = [curve.recipe for curve in curves.curves]
    with canvas(height=4.0) as (drawn, axes):
        for curve in curves.curves:
            means = [point.mean for point in curve.points]
            hours = [mean.hours for mean in means]
            colour = recipe_colour(curve.recipe, recipes)
            each = [[spent.top1 for spent in point.seeds.values()] for point in curve.points]
            if any(len(values) > 1 for values in each):
                axes.fill_between(
                    hours,
                    [min(values) for values in each],
                    [max(values) for values in each],
                    color=colour,
                    alpha=0.18,
                    linewidth=0,
                )
            axes.plot(
                hours,
                [mean.top1 for mean in means],
                color=colour,
                marker=recipe_marker(curve.recipe, recipes),
                markersize=5,
                linewidth=1.6,
                label=drawn_label(paper.label(curve.recipe)),
            )
        axes.set_xscale("log")
        ticks = sorted({point.mean.hours for curve in curves.curves for point in curve.points})
        budgets = [budget.hours for budget in results.budgets if budget.unit == curves.unit]
        axes.set_xticks(budgets or _apart(ticks))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(f"training cost ({curves.unit})")
        axes.set_ylabel(f"mean top-1 on {drawn_label(setting.dataset)} (%)")
        legend_above(drawn, axes)
        return finish(drawn, name, title, _caption(results, curves))


def _apart(ticks: list[float]) -> list[float]:
    """Those of ascending `ticks` that are far enough from the one before to be read."""
    shown: list[float] = []
    for tick in ticks:
        if not shown or tick / shown[-1] > 1.25:
            shown.append(tick)
    return shown


def _caption(results: SettingResults, curves: Curves) -> list[str]:
    several = any(len(point.seeds) > 1 for curve in curves.curves for point in curve.points)
    devices = ", ".join(dict.fromkeys(s.table.training.spent_on for s in results.sources))
    return [
        subnets_sentence(results),
        "Each point is the mean over seeds of the trainings that were allowed the same; bands go "
        "from the lowest seed to the highest."
        if several
        else "One seed each: how far another would differ, the figure does not know.",
        f"Cost: hours that the trainer recorded on {devices}, teacher phases included.",
        captions.accuracy_sentence(results.setting, results.sources),
        *curves.left_out,
    ]
