"""The figure "devices": the matrix of `bench.tables.transfer` as a heat map with its numbers."""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize

from bench.figures.style import Figure, canvas, drawn_label, finish
from bench.tables.transfer import Matrix, Transfer, transfer_caption

LIGHT, DARK = "#f4f6f8", "#1f3b57"
"""Colours of their own, not the page's: a cell is as dark on a dark page."""
ON_LIGHT, ON_DARK = "#101418", "#ffffff"
CELL_INCHES = 0.95
LINE_LENGTH = 18
"""Of a label, in characters: longer names are broken at a hyphen, or cut."""
MAX_LINES = 2


def transfer_figure(name: str, title: str, matrix: Matrix) -> Figure:
    """Darker cells lose more; the same in grey."""
    number = len(matrix.luts)
    values = [
        [0.0 if transfer.lost_points is None else transfer.lost_points for transfer in row]
        for row in matrix.transfers
    ]
    most = max(0.01, *(value for row in values for value in row))
    shades = LinearSegmentedColormap.from_list("lost", [LIGHT, DARK])
    size = CELL_INCHES * number
    with canvas(width=max(5.0, size + 2.4), height=max(3.2, 0.8 * size + 1.6)) as (drawn, axes):
        axes.grid(visible=False)
        axes.pcolormesh(
            values, cmap=shades, norm=Normalize(0, most), edgecolors="#ffffff", linewidth=1.5
        )
        for row, transfers in enumerate(matrix.transfers):
            for column, transfer in enumerate(transfers):
                dark = values[row][column] > most / 2
                if row == column:
                    axes.text(
                        column + 0.5, row + 0.5, "–", ha="center", va="center", color=ON_LIGHT
                    )
                else:
                    _write(axes, column, row, transfer, ON_DARK if dark else ON_LIGHT)
        labels = [_label(matrix, place) for place in range(number)]
        centres = [place + 0.5 for place in range(number)]
        turned = number > 4 or any(label.count("\n") > 1 for label in labels)
        axes.set_xticks(
            centres,
            labels,
            rotation=35 if turned else 0,
            ha="right" if turned else "center",
            rotation_mode="anchor" if turned else "default",
        )
        axes.set_yticks(centres, labels)
        axes.tick_params(length=0, labelsize=8)
        axes.set_xlabel("used on")
        axes.set_ylabel("chosen for")
        axes.invert_yaxis()
        for side in axes.spines.values():
            side.set_visible(False)
        return finish(
            drawn,
            name,
            title,
            [
                "In each cell: points of top-1 lost, how often the best network changes, and by "
                "how much the latency limit is broken.",
                *transfer_caption(matrix)[1:],
            ],
        )


def _write(axes: Axes, column: int, row: int, transfer: Transfer, colour: str) -> None:
    lost = "none fits" if transfer.lost_points is None else f"{transfer.lost_points:.2f}"
    small = f"{100 * transfer.changed:.0f}% change\n{transfer.over_percent:+.0f}% ms"
    for text, height, size, weight in ((lost, 0.36, 11, "bold"), (small, 0.7, 7, "normal")):
        axes.text(
            column + 0.5,
            row + height,
            text,
            ha="center",
            va="center",
            color=colour,
            fontsize=size,
            fontweight=weight,
        )


def _label(matrix: Matrix, place: int) -> str:
    """The file's name and how the latencies were obtained."""
    name = drawn_label(matrix.names[place]).strip()
    lines = textwrap.wrap(name, LINE_LENGTH, max_lines=MAX_LINES, placeholder="…")
    return "\n".join([*lines, f"({matrix.luts[place].lut.method})"])
