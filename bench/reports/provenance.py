"""Where every number of a report came from: the files, and what they say about themselves."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bench.tables import captions, paper
from bench.tables.budgets import training_cost
from bench.tables.collect import AccuracySource, Collection, LutSource
from fofa.latency import Lut


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that numbers came from; `facts` are label and text, in order.

    `short` is its name beside its siblings; `link` leads from the report to the file; `warning` is
    what a reader must know first.
    """

    anchor: str
    kind: str
    name: str
    short: str
    link: str
    facts: tuple[tuple[str, str], ...]
    warning: str | None = None


def provenance(collection: Collection, out: Path) -> list[SourceFile]:
    """The sources of a report that is written to `out`, latency tables first."""
    return [
        *(_lut(source, out) for source in collection.luts),
        *(_accuracy(source, out) for results in collection.results for source in results.sources),
    ]


def _link(path: Path, out: Path) -> str:
    return Path(os.path.relpath(path.resolve(), out.resolve())).as_posix()


def _facts(*pairs: tuple[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((label, str(value)) for label, value in pairs if value not in (None, ""))


def _lut(source: LutSource, out: Path) -> SourceFile:
    lut = source.lut
    error = lut.validation
    matches = {True: "yes", False: "no", None: None}[lut.device.matches]
    warning = {
        "estimated": "Estimated: these latencies were not measured on any device.",
        "published": "Published: these latencies were measured by others.",
        "measured": None if lut.instability is None else "Unstable measurement.",
    }[lut.method]
    return SourceFile(
        anchor=source.anchor,
        kind="Latency table",
        name=source.title,
        short=source.path.stem,
        link=_link(source.path, out),
        warning=warning,
        facts=_facts(
            ("Device asked for", source.device),
            ("Method", lut.method),
            ("Hardware", lut.device.hardware),
            ("Is what the name stands for", matches),
            ("Protocol", f"{lut.protocol.plugin}: {captions.protocol_text(lut)}"),
            (
                "Space",
                f"{lut.space.kind}, width {lut.space.width_mult:g}, "
                f"{captions.sizes_text(lut.space.resolutions)}, {len(lut.entries)} blocks",
            ),
            (
                "Error on held-out networks",
                f"{error.mape_percent:.2f}% on average, {error.max_percent:.2f}% at worst, "
                f"{error.within_10_percent:.0f}% within 10%, {error.networks} networks"
                if error
                else "not known",
            ),
            ("Kendall tau", _tau_text(lut)),
            ("Noise", f"{error.noise_percent:.2f}%" if error else None),
            ("Stable", _stability_text(source)),
            ("Made", lut.created),
            ("Source", lut.source),
        ),
    )


def _tau_text(lut: Lut) -> str | None:
    tau = lut.validation.kendall_tau if lut.validation else None
    return None if tau is None else f"{tau:.3f}"


def _stability_text(source: LutSource) -> str | None:
    stability = source.lut.stability
    if stability is None:
        return None
    state = "yes" if stability.stable else "no"
    return "; ".join([state, *stability.reasons])


def _accuracy(source: AccuracySource, out: Path) -> SourceFile:
    table = source.table
    training, evaluation = table.training, table.evaluation
    cost = training_cost(training)
    within = f", {source.budget}" if source.budget else ""
    short = f"seed {training.seed}{within}"
    return SourceFile(
        anchor=source.anchor,
        kind="Accuracy table",
        name=", ".join([paper.label(table.recipe), short]),
        short=short,
        link=_link(source.path, out),
        warning=f"Stand-in: {table.proxy.reason}." if table.proxy else None,
        facts=_facts(
            ("Recipe", table.recipe),
            ("Data set", source.setting.name),
            (
                "Space",
                f"{table.space.kind}, width {table.space.width_mult:g}, "
                f"{captions.sizes_text(table.space.resolutions)}, "
                f"{len(table.architectures)} architectures",
            ),
            ("Epochs", f"{training.epochs:g}"),
            ("Epochs scaled by", f"{training.epoch_scale:g}" if training.epoch_scale else None),
            ("Training images", f"{training.train_images:,}" if training.train_images else None),
            ("Training cost", f"{cost[0]:.4g} {cost[1]}" if cost else None),
            ("Trained on", training.device),
            ("At the pace of", training.pace.device if training.pace else None),
            ("Throughput", f"{training.images_per_second:.4g} images/s"),
            ("Precision", training.precision),
            ("Seed", training.seed),
            (
                "Evaluated on",
                f"{evaluation.test_images:,} {evaluation.split} images; BatchNorm recalibrated on "
                f"{evaluation.calibration_images:,} training images",
            ),
        ),
    )
