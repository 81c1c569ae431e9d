"""How figures look, and how one becomes a file. No pyplot: nothing global is drawn on.

Ink, grid and paper are fixed colours here; inside the HTML report they become CSS variables, so
that one SVG serves the light and the dark page.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.font_manager import FontProperties, findfont, get_font

from fofa.plain_text import one_line

INK = "#24292e"
GRID = "#d9dee3"
PAPER = "#fefefe"
VARIABLES = {INK: "var(--ink)", GRID: "var(--grid)", PAPER: "none"}

RECIPE_COLOURS = {
    "ofa": "#8f5be8",
    "compofa": "#ef7d0c",
    "fofa-n3": "#22a04b",
    "fofa-n4": "#2b7de0",
    "fofa-n4-300": "#12a5b8",
    "sandwich": "#d6408f",
    "naive": "#a8763e",
    "smallest-first": "#e5534b",
}
"""Orange and blue as in the paper's Figure 4; all readable on white and on near-black."""
FURTHER_COLOURS = ("#7d8590", "#b5a316", "#5c6bc0")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
"""Beside the colours, for those who do not see them or print in grey."""

MAX_LABEL = 40
"""Characters of a name in a drawing; a longer one would leave no room for the axes."""

MAX_LEGEND_COLUMNS = 4

TAG = re.compile(r"<[^<>]+>")
LONG_NUMBER = re.compile(r"\d+\.\d{3,}")

SETTINGS: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.facecolor": PAPER,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": PAPER,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
    "text.parse_math": False,
    "svg.hashsalt": "fofa",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawn figure. `name` is its file name without suffix."""

    name: str
    title: str
    caption: tuple[str, ...]
    svg: str
    png: bytes

    def inline(self) -> str:
        """The SVG for an HTML page: as wide as its place, colours from the page, own ids."""
        title = html.escape(one_line(self.title))
        svg = self.svg[self.svg.index("<svg") :]
        svg = re.sub(r' width="[^"]*pt"', ' width="100%"', svg, count=1)
        svg = re.sub(r' height="[^"]*pt"', "", svg, count=1)
        svg = re.sub(r'(\bid=")', rf"\g<1>{self.name}-", svg)
        svg = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{self.name}-", svg)
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        for colour, variable in VARIABLES.items():
            svg = svg.replace(colour, variable)
        return svg.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)


@contextmanager
def canvas(width: float = 5.6, height: float = 3.7) -> Iterator[tuple[Canvas, Axes]]:
    """A figure of `width` x `height` inches with one pair of axes, in this project's style.

    Narrow, so that its letters can be read where a telephone shows it as wide as the screen.
    """
    with matplotlib.rc_context(SETTINGS):
        drawn = Canvas(figsize=(width, height), layout="constrained")
        yield drawn, drawn.subplots()


def finish(drawn: Canvas, name: str, title: str, caption: Sequence[str]) -> Figure:
    """Render what was drawn; call it inside `canvas`. The same drawing gives the same bytes."""
    svg, png = io.StringIO(), io.BytesIO()
    drawn.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    drawn.savefig(png, format="png", dpi=160, metadata={"Software": None})
    text = "\n".join(line.rstrip() for line in svg.getvalue().splitlines()) + "\n"
    return Figure(name, title, tuple(caption), TAG.sub(_in_hundredths, text), png.getvalue())


def _in_hundredths(tag: re.Match[str]) -> str:
    """A tag with its places to a hundredth of a point, not a millionth; text stays as it is."""
    return LONG_NUMBER.sub(lambda number: f"{float(number[0]):.2f}", tag[0])


def drawn_label(text: str) -> str:
    """A name from a file as it can be drawn: one short line of characters that the font has.

    The caption and the tables beside the figure have it whole.
    """
    font = get_font(findfont(FontProperties(family=[SETTINGS["font.family"]])))
    line = one_line(text)
    shown = "".join(c if font.get_char_index(ord(c)) else "\ufffd" for c in line)
    shown = shown if len(shown) <= MAX_LABEL else f"{shown[: MAX_LABEL - 1]}…"
    # A legend leaves out what begins with an underscore.
    return f" {shown}" if shown.startswith("_") else shown


def legend_above(drawn: Canvas, axes: Axes) -> None:
    """A legend over the axes, where it hides nothing, in as few rows as its names allow."""
    handles, labels = axes.get_legend_handles_labels()
    for most in range(min(MAX_LEGEND_COLUMNS, len(labels)), 0, -1):
        rows = math.ceil(len(labels) / most)
        columns = math.ceil(len(labels) / rows)
        legend = drawn.legend(
            handles, labels, loc="outside upper center", ncols=columns, fontsize=9
        )
        if legend.get_window_extent().width <= drawn.bbox.width or columns == 1:
            return
        legend.remove()


def recipe_marker(recipe: str, recipes: Sequence[str]) -> str:
    """The marker of `recipe` among those of a figure."""
    return MARKERS[list(recipes).index(recipe) % len(MARKERS)]


def recipe_colour(recipe: str, recipes: Sequence[str]) -> str:
    """The colour of `recipe`; those that are not the paper's are told apart by their order."""
    if recipe in RECIPE_COLOURS:
        return RECIPE_COLOURS[recipe]
    further = [name for name in recipes if name not in RECIPE_COLOURS]
    return FURTHER_COLOURS[further.index(recipe) % len(FURTHER_COLOURS)]
