"""Figures: what they show, that they are whole files, and that they repeat bit by bit."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.figures.charts import (
    pareto_figure,
    schedules_figure,
    tradeoff_figure,
)
from bench.figures.style import (
    INK,
    PAPER,
    Figure,
    canvas,
    finish,
    legend_above,
    recipe_colour,
)
from bench.tables import paper
from bench.tables.collect import AccuracySource, Collection, SettingResults, collect
from bench.tables.devices import WantedLimits, pair_device
from bench.tables.trend import SubnetMeans
from fofa.accuracy import AccuracyTable
from fofa.recipes import RECIPES

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def collection(shared_project: Path) -> Collection:
    return collect(
        accuracy_dir=shared_project / "reports/accuracy", luts_dir=shared_project / "luts"
    )


def texts(figure: Figure) -> set[str]:
    return {element.text or "" for element in ElementTree.fromstring(figure.svg).iter(f"{SVG}text")}


def tradeoff(collection: Collection, *recipes: str) -> Figure | None:
    (results,) = collection.results
    chosen = [source for source in results.sources if source.table.recipe in recipes]
    return tradeoff_figure("figure4", SettingResults.of(results.setting, chosen))


def test_figure_4_shows_243_subnets_of_both_in_the_papers_colours(collection: Collection) -> None:
    figure = tradeoff(collection, "compofa", "fofa-n4", "ofa")
    assert figure is not None
    assert figure.svg.count("<use ") >= 2 * 243
    assert {"CompOFA", "fOFA (n=4)"} <= texts(figure)
    assert "OFA" not in texts(figure)
    orange, blue = (recipe_colour(name, []) for name in ("compofa", "fofa-n4"))
    assert orange in figure.svg
    assert blue in figure.svg
    assert "56 px" in figure.title


def test_figure_4_says_what_is_missing(collection: Collection) -> None:
    figure = tradeoff(collection, "compofa")
    assert figure is not None
    assert "fOFA (n=4) is missing: it has no accuracy table." in figure.caption
    assert tradeoff(collection, "ofa") is None
    beside = tradeoff(collection, "fofa-n3")
    assert beside is not None
    assert "fOFA (n=3)" in texts(beside)
    assert "CompOFA is missing: it has no accuracy table." in beside.caption


def test_figure_1_is_drawn_from_the_recipes() -> None:
    figure = schedules_figure("figure1")
    found = texts(figure)
    for make in RECIPES.values():
        recipe = make()
        assert {paper.label(recipe.name), f"{recipe.epochs:g}"} <= found
    assert {"180×1", "125×4", "180×3"} <= found


def test_every_kind_of_phase_and_every_recipe_has_a_colour_of_its_own() -> None:
    """Read off the drawing: the bars' colours are as many as the kinds that the legend names."""
    kinds = {phase.name.rstrip("-12") for make in RECIPES.values() for phase in make().phases}
    drawn = schedules_figure("figure1").svg
    assert kinds <= texts(schedules_figure("figure1"))
    bars = re.findall(rf"fill: (#[0-9a-f]{{6}}); stroke: {PAPER}", drawn)
    assert len(set(bars)) == len(kinds)
    colours = [recipe_colour(name, list(RECIPES)) for name in RECIPES]
    assert len(set(colours)) == len(colours)


def test_fronts_of_every_recipe_with_their_device(collection: Collection) -> None:
    (results,) = collection.results
    (lut,) = collection.of_device("a100")
    figure = pareto_figure("p", results, pair_device(lut, results, WantedLimits()))
    assert {paper.label(s.table.recipe) for s in results.sources} <= texts(figure)
    assert "NVIDIA A100 (estimated)" in figure.title
    assert any("ESTIMATED" in sentence for sentence in figure.caption)


def test_the_same_drawing_gives_the_same_bytes() -> None:
    first, second = schedules_figure("figure1"), schedules_figure("figure1")
    assert first == second
    assert first.png.startswith(b"\x89PNG")


def test_a_drawing_has_places_to_a_hundredth_of_a_point_and_its_text_as_it_was() -> None:
    with canvas() as (drawn, axes):
        axes.plot([0.0001, 0.0002], [1 / 3, 2 / 3], label="0.12345 of <1.23456>")
        legend_above(drawn, axes)
        figure = finish(drawn, "f", "t", ())
    assert {"0.12345 of <1.23456>", "0.00010"} <= texts(figure)
    root = ElementTree.fromstring(figure.svg)
    places = " ".join(element.get("d", "") for element in root.iter())
    assert re.search(r"\d\.\d{2}\b", places)
    assert not re.search(r"\d\.\d{3}", places)


def test_inline_svg_takes_the_pages_colours_and_its_own_ids() -> None:
    inline = schedules_figure("figure1").inline()
    root = ElementTree.fromstring(inline)
    assert INK not in inline
    assert "var(--ink)" in inline
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert ids
    assert all(name and name.startswith("figure1-") for name in ids)
    references = {
        value[1:]
        for element in root.iter()
        for name, value in element.attrib.items()
        if name.endswith("href")
    }
    assert references <= set(ids)


def test_further_recipes_get_colours_of_their_own() -> None:
    recipes = ["ofa", "mine", "yours"]
    assert len({recipe_colour(name, recipes) for name in recipes}) == 3


def test_figure_4_is_the_mean_over_seeds_with_a_trend(
    trained_within: Callable[..., AccuracyTable],
) -> None:
    tables = [
        trained_within("compofa", None, seed=seed, resolutions=(56,), bonus=2 * seed)
        for seed in (0, 1)
    ]
    sources = [AccuracySource(Path(f"{number}.json"), table) for number, table in enumerate(tables)]
    means = SubnetMeans.of(sources, 56)
    by_name = dict(zip(means.names, means.top1, strict=True))
    for one, other in zip(*(table.architectures for table in tables), strict=True):
        assert by_name[one.name] == pytest.approx((one.top1 + other.top1) / 2)
    trend = means.trend()
    assert trend is not None
    assert trend.slope > 0
    assert trend.correlation > 0.9
    assert trend.corrected is None  # no outcomes were kept
    figure = tradeoff_figure("figure4", SettingResults.of(sources[0].setting, sources))
    assert figure is not None
    text = " ".join(figure.caption)
    assert "CompOFA: 243 subnets, mean of 2 seeds, the smallest (22222@56) at " in text
    assert f"correlation of size and top-1 {trend.correlation:.2f}." in text
    assert SubnetMeans.of(sources, 32).trend() is None


def test_a_legend_is_above_the_axes_and_within_the_drawing() -> None:
    for number, length in ((1, 3), (7, 12), (10, 40)):
        with canvas() as (drawn, axes):
            for place in range(number):
                axes.plot([0, 1], [place, place], label="M" * length)
            legend_above(drawn, axes)
            drawn.draw_without_rendering()
            (legend,) = drawn.legends
            box = legend.get_window_extent()
            assert box.y0 >= axes.get_window_extent().y1
            assert box.x0 >= 0
            assert box.x1 <= drawn.bbox.x1
