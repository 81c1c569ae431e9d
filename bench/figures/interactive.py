"""Pareto fronts that answer: plain SVG with the data beside it, which a little script reads.

Without the script, the drawing reads the same. Nothing is computed in the browser but which step of
a line a limit reaches.
"""

from __future__ import annotations

import html
import shlex
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator

from bench.figures.style import recipe_colour, recipe_marker
from bench.tables.collect import SettingResults, slug
from bench.tables.devices import PairedDevice
from bench.tables.fronts import FrontLine, Step, front_lines
from bench.tables.model import ChosenArchitecture
from fofa.plain_text import one_line

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 66, 704, 36, 344
MARGIN = 0.04
"""Of a range, left free on both sides of the data."""
RADIUS = 4.2

CORNERS: dict[str, tuple[tuple[float, float], ...]] = {
    "s": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "^": ((0, -1.15), (1.1, 0.85), (-1.1, 0.85)),
    "D": ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
    "v": ((0, 1.15), (1.1, -0.85), (-1.1, -0.85)),
    "<": ((-1.15, 0), (0.85, -1.1), (0.85, 1.1)),
    ">": ((1.15, 0), (-0.85, -1.1), (-0.85, 1.1)),
    "P": (
        *((-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4), (1.2, 0.4), (0.4, 0.4)),
        *((0.4, 1.2), (-0.4, 1.2), (-0.4, 0.4), (-1.2, 0.4), (-1.2, -0.4), (-0.4, -0.4)),
    ),
    "X": (
        *((-1.1, -0.6), (-0.6, -1.1), (0, -0.5), (0.6, -1.1), (1.1, -0.6), (0.5, 0)),
        *((1.1, 0.6), (0.6, 1.1), (0, 0.5), (-0.6, 1.1), (-1.1, 0.6), (-0.5, 0)),
    ),
    "*": (
        *((0, -1.4), (0.33, -0.45), (1.33, -0.43), (0.53, 0.17), (0.82, 1.13)),
        *((0, 0.55), (-0.82, 1.13), (-0.53, 0.17), (-1.33, -0.43), (-0.33, -0.45)),
    ),
}
"""Shapes of matplotlib's markers; one that is not here is a circle."""


@dataclass(frozen=True, slots=True)
class InteractiveFront:
    """The fronts of a device: its drawing, the names of its lines, and what the script reads."""

    name: str
    title: str
    svg: str
    legend: tuple[tuple[str, str], ...]
    """Name of a recipe, and an SVG of its marker."""
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Scale:
    """From numbers to places in the drawing."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def of(cls, values: Sequence[float], start: float, end: float) -> _Scale:
        low, high = min(values), max(values)
        free = MARGIN * (high - low) or max(1e-9, abs(high) * MARGIN)
        return cls(low - free, high + free, start, end)

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, number: int) -> list[float]:
        found = MaxNLocator(number, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        return [float(tick) for tick in found if self.low <= tick <= self.high]


def interactive_front(
    name: str,
    results: SettingResults,
    device: PairedDevice,
    architecture_text: Callable[[ChosenArchitecture], str],
) -> InteractiveFront:
    """The fronts of all recipes on a device.

    Args:
        architecture_text: how tables write an architecture's name.
    """
    lines = front_lines(results, device)
    recipes = [line.recipe for line in lines]
    latencies = [step.latency_ms for line in lines for step in line.steps]
    x = _Scale.of([*latencies, *_within(device.limits.values_ms, max(latencies))], LEFT, RIGHT)
    y = _Scale.of([step.top1 for line in lines for step in line.steps], BOTTOM, TOP)
    colours = [recipe_colour(recipe, recipes) for recipe in recipes]
    markers = [recipe_marker(recipe, recipes) for recipe in recipes]
    drawn = [
        _line(line, x, y, colour, marker)
        for line, colour, marker in zip(lines, colours, markers, strict=True)
    ]
    unit = f"latency of a batch of {device.source.lut.protocol.batch_size} (ms)"
    accuracy = f"top-1 on {results.setting.dataset} (%)"
    return InteractiveFront(
        name=slug(name),
        title=one_line(device.title),
        svg=_drawing(device, x, y, drawn, unit, accuracy),
        legend=tuple(
            (one_line(line.label), _swatch(colour, marker))
            for line, colour, marker in zip(lines, colours, markers, strict=True)
        ),
        data={
            "x": [x.low, x.high, LEFT, RIGHT],
            "y": [y.low, y.high, BOTTOM, TOP],
            "limits": list(_within(device.limits.values_ms, x.high)),
            "lines": [_data(line, device, architecture_text) for line in lines],
        },
    )


def _within(limits: Sequence[float], most: float) -> tuple[float, ...]:
    """Limits far beyond every network would squeeze the drawing."""
    return tuple(limit for limit in limits if limit <= 1.5 * most)


def _data(
    line: FrontLine, device: PairedDevice, architecture_text: Callable[[ChosenArchitecture], str]
) -> dict[str, Any]:
    paths = [source.path for source in line.sources]
    return {
        "label": one_line(line.label),
        "commands": [
            one_line(
                f"fofa-search --lut {shlex.quote(str(device.source.path))} "
                f"--accuracy {shlex.quote(str(path))} --max-latency"
            )
            for path in paths
        ],
        "steps": [
            {
                "ms": step.latency_ms,
                "top1": round(step.top1, 4),
                "text": _top1_text(step),
                "chosen": [
                    [choice.seed, architecture_text(choice), choice.latency_ms]
                    for choice in step.chosen
                ],
            }
            for step in line.steps
        ],
    }


def _top1_text(step: Step) -> str:
    """As in a table's cell."""
    values = [choice.top1 for choice in step.chosen]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{step.top1:.2f}{spread}"


def _drawing(
    device: PairedDevice, x: _Scale, y: _Scale, lines: Sequence[str], unit: str, accuracy: str
) -> str:
    label = html.escape(one_line(f"Pareto fronts on {device.title}"))
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">',
        '<g class="grid">',
        *(f'<path d="M{LEFT} {y(tick)}H{RIGHT}"/>' for tick in y.ticks(6)),
        *(f'<path class="limit" d="M{x(limit)} {BOTTOM}V{TOP}"/>' for limit in _shown(device, x)),
        f'<path class="axis" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>',
        "</g>",
        *(_text(LEFT - 8, y(tick) + 5, f"{tick:g}", "end") for tick in y.ticks(6)),
        *(_text(x(tick), BOTTOM + 22, f"{tick:g}", "middle") for tick in x.ticks(7)),
        _text((LEFT + RIGHT) / 2, HEIGHT - 8, unit, "middle"),
        _text(8, 20, accuracy, "start"),
        *lines,
        f'<path class="cursor" d="M0 {BOTTOM}V{TOP}" hidden=""/>',
        '<circle class="here" r="8" hidden=""/>',
        "</svg>",
    ]
    return "\n".join(parts)


def _shown(device: PairedDevice, x: _Scale) -> list[float]:
    return [limit for limit in device.limits.values_ms if x.low <= limit <= x.high]


def _text(x: float, y: float, text: str, anchor: str) -> str:
    shown = html.escape(one_line(text if len(text) < 60 else f"{text[:59]}…"))
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{shown}</text>'


def _line(line: FrontLine, x: _Scale, y: _Scale, colour: str, marker: str) -> str:
    """The steps as a stair that goes on to the right end, with a marker at each."""
    first, *rest = line.steps
    stair = f"M{x(first.latency_ms):g} {y(first.top1):g}"
    stair += "".join(f"H{x(step.latency_ms):g}V{y(step.top1):g}" for step in rest)
    shapes = "".join(_shape(marker, x(step.latency_ms), y(step.top1)) for step in line.steps)
    return (
        f'<g class="line"><path d="{stair}H{RIGHT}" fill="none" stroke="{colour}" '
        f'stroke-width="2"/><path d="{shapes}" fill="{colour}"/></g>'
    )


def _shape(marker: str, x: float, y: float) -> str:
    """A marker as a path."""
    corners = CORNERS.get(marker)
    if corners is None:
        r = RADIUS
        return f"M{x - r:g} {y:g}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z"
    places = [f"{x + RADIUS * dx:.1f} {y + RADIUS * dy:.1f}" for dx, dy in corners]
    return f"M{'L'.join(places)}z"


def _swatch(colour: str, marker: str) -> str:
    return (
        '<svg class="swatch" viewBox="0 0 24 12" aria-hidden="true">'
        f'<path d="M0 6H24" stroke="{colour}" stroke-width="2"/>'
        f'<path d="{_shape(marker, 12, 6)}" fill="{colour}"/></svg>'
    )
