"""The Pareto front of every recipe on one device: what accuracy a latency buys."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from bench.figures.style import INK, Figure, canvas, finish, recipe_colour
from bench.reports import captions
from bench.tables import paper
from bench.tables.collect import AccuracySource, Setting
from bench.tables.latency import PairedDevice
from fofa.search.exact import pareto_front
from fofa.search.pairing import Candidates


def pareto_figure(
    name: str, setting: Setting, sources: Sequence[AccuracySource], device: PairedDevice
) -> Figure:
    """Fronts of the first seed of each recipe."""
    firsts: dict[str, AccuracySource] = {}
    for source in sources:
        if source.anchor in device.candidates:
            firsts.setdefault(source.table.recipe, source)
    title = f"Pareto fronts on {device.title}"
    with canvas() as (drawn, axes):
        for recipe, source in firsts.items():
            _draw_front(
                axes,
                device.candidates[source.anchor],
                recipe_colour(recipe, list(firsts)),
                paper.label(recipe),
            )
        for limit in device.limits.values_ms:
            axes.axvline(limit, color=INK, linewidth=0.8, linestyle=":", zorder=1)
        axes.set_xlabel(f"latency of a batch of {device.source.lut.protocol.batch_size} (ms)")
        axes.set_ylabel(f"top-1 on {setting.dataset} (%)")
        axes.legend(loc="lower right")
        return finish(drawn, name, title, _caption(setting, list(firsts.values()), device))


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


def _caption(
    setting: Setting, sources: Sequence[AccuracySource], device: PairedDevice
) -> list[str]:
    seeds = ", ".join(f"{s.table.recipe} {s.table.training.seed}" for s in sources)
    return [
        f"Architectures that no other of the same supernet beats. Dotted: the limits of the table. "
        f"Seeds: {seeds}.",
        *captions.latency_sentences(device.source.lut),
        *device.notes,
        captions.accuracy_sentence(setting, sources),
    ]
