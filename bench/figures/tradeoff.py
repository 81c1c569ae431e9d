"""Figure 4: multiply-adds against top-1 of the 243 subnets of CompOFA and of fOFA with n=4."""

from __future__ import annotations

from collections.abc import Sequence

from bench.figures.style import Figure, canvas, finish, recipe_colour
from bench.reports import captions
from bench.tables import paper
from bench.tables.collect import AccuracySource, Setting
from fofa.accuracy import AccuracyTable, ArchitectureAccuracy

RECIPES = ("compofa", "fofa-n4")


def tradeoff_figure(
    name: str, setting: Setting, sources: Sequence[AccuracySource]
) -> Figure | None:
    """The figure at the setting's largest resolution, of the first seed of each recipe.

    None if neither recipe has an accuracy table; with one of them, the caption names the other.
    """
    chosen = {
        recipe: next((s for s in sources if s.table.recipe == recipe), None) for recipe in RECIPES
    }
    present = {recipe: source for recipe, source in chosen.items() if source is not None}
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
                color=recipe_colour(recipe, RECIPES),
                label=paper.label(recipe),
            )
        axes.set_xlabel(f"multiply-adds at {resolution} px (millions)")
        axes.set_ylabel(f"top-1 on {setting.dataset} (%)")
        axes.legend(loc="lower right")
        return finish(drawn, name, title, _caption(setting, present, resolution))


def _rows(table: AccuracyTable, resolution: int) -> list[ArchitectureAccuracy]:
    return [row for row in table.architectures if row.architecture.resolution == resolution]


def _caption(setting: Setting, present: dict[str, AccuracySource], resolution: int) -> list[str]:
    sentences = [
        f"{paper.label(recipe)}: {len(_rows(source.table, resolution))} subnets, "
        f"{_smallest(source.table, resolution)}seed {source.table.training.seed}."
        for recipe, source in present.items()
    ]
    sentences += [
        f"{paper.label(recipe)} is missing: it has no accuracy table."
        for recipe in RECIPES
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
