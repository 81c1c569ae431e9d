"""Sentences that say how a number was obtained: by which method, on what, with which error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.tables import paper
from bench.tables.collect import AccuracySource, Setting
from bench.tables.limits import MATCHED_SHARES, Limits
from fofa.latency import Lut

MANY_SIZES = 6
SELECTION_NOTE = (
    "In each cell: best top-1 in percent among all architectures within the limit, the architecture"
    " that reaches it and its latency; as in the paper, it is chosen by the accuracy that is shown."
)


def protocol_text(lut: Lut) -> str:
    """Plugin, runtime, precision, batch, threads and classes of the networks, in words."""
    protocol = lut.protocol
    threads = protocol.threads
    parts = [
        protocol.runtime if protocol.runtime != protocol.plugin else None,
        protocol.dtype,
        f"batch {protocol.batch_size}",
        f"{threads} thread{'s' if threads > 1 else ''}" if threads else None,
        f"networks of {lut.num_classes} classes" if lut.num_classes else None,
    ]
    return ", ".join(part for part in parts if part)


def short_source(source: str) -> str:
    """A source without its checksum, which the table itself keeps."""
    return source.partition(", sha256")[0]


def sizes_text(resolutions: Sequence[int]) -> str:
    """`128, 160 px`, or the number and range of many."""
    if len(resolutions) <= MANY_SIZES:
        return f"{', '.join(map(str, resolutions))} px"
    return f"{len(resolutions)} sizes from {min(resolutions)} to {max(resolutions)} px"


def device_title(lut: Lut) -> str:
    """What a device is called in headings, and how its latencies were obtained.

    A measured table is called after its hardware, unless that is known to be the paper's.
    """
    known = paper.device(lut.device.requested)
    name = known.title if known else lut.device.requested
    if lut.method == "measured" and not (known and lut.device.matches):
        hardware = lut.device.hardware or "other hardware"
        return f"{hardware} (measured as {lut.device.requested})"
    return f"{name} ({lut.method})"


def latency_sentences(lut: Lut) -> list[str]:
    """Where the latencies of a table come from, and how far they can be trusted."""
    known = paper.device(lut.device.requested)
    name = known.title if known else lut.device.requested
    how = protocol_text(lut)
    if lut.method == "published":
        sentences = [
            f"Latency of {name}: published table, not measured here"
            f"{f' (source: {short_source(lut.source)})' if lut.source else ''}; {how}."
        ]
    elif lut.method == "estimated":
        sentences = [
            f"Latency of {name}: ESTIMATED from peak rate and bandwidth, not measured on any device"
            f"{f' ({lut.source})' if lut.source else ''}; {how}."
        ]
    else:
        hardware = lut.device.hardware or "hardware that the table does not name"
        sentences = [f"Latency of {lut.device.requested}: measured on {hardware}; {how}."]
        if lut.device.matches is False:
            sentences.append(
                f"That is not the hardware that {lut.device.requested} stands for ({name})."
            )
        elif known and lut.device.matches is None:
            sentences.append(
                f"Nothing says that this is what {lut.device.requested} stands for ({name})."
            )
    return sentences + _error_sentences(lut)


def _error_sentences(lut: Lut) -> list[str]:
    sentences = []
    if lut.validation is not None:
        error = lut.validation
        sentences.append(
            f"Error of this latency table on {error.networks} held-out networks: "
            f"{error.mape_percent:.2f}% on average, {error.max_percent:.2f}% at worst "
            f"(noise of the machine {error.noise_percent:.2f}%)."
        )
    if (reasons := lut.instability) is not None:
        sentences.append(f"UNSTABLE measurement: {reasons}.")
    return sentences


def limit_sentence(limits: Limits, *, beside_paper: bool) -> str:
    """Where a device's limits come from; `beside_paper`: the paper's columns stand beside them."""
    match limits.origin:
        case "paper":
            return "Limits: the paper's."
        case "given":
            return "Limits: as given."
        case "matched":
            shares = ", ".join(f"{100 * share:.1f}" for share in MATCHED_SHARES)
            beside = "; each is set beside the paper's limit of the same rank"
            return (
                f"Limits: matched, they let through {shares}% of the architectures, the shares "
                f"that 15, 20, 25 and 30 ms have on the Note10{beside if beside_paper else ''}."
            )


def accuracy_sentence(setting: Setting, sources: Sequence[AccuracySource]) -> str:
    """On which data accuracy was measured, after which training."""
    tables = [source.table for source in sources]
    preset = f" (preset {setting.preset})" if setting.preset else ""
    trained = _joined(
        f"{table.training.train_images:,}" for table in tables if table.training.train_images
    )
    return (
        f"Accuracy: measured on {setting.test_images:,} {setting.split} images of "
        f"{setting.dataset}{preset} at {sizes_text(setting.resolutions)}"
        f"{f', trained on {trained} images' if trained else ''}"
        f"{_scale_text(tables)}. The paper's numbers are of {paper.DATASET}."
    )


def _scale_text(tables: Sequence[Any]) -> str:
    scales = sorted({table.training.epoch_scale for table in tables if table.training.epoch_scale})
    if not scales:
        return ""
    if len(scales) == 1:
        return f", epochs of every recipe scaled by {scales[0]:g}"
    listed = _joined(f"{scale:g}" for scale in scales)
    return f", epochs scaled DIFFERENTLY ({listed}), so that rows are not comparable"


def _joined(values: Any) -> str:
    return ", ".join(dict.fromkeys(values))


def seed_sentence(num_seeds: dict[str, int]) -> str | None:
    """What ± means, for the recipes that were trained more than once."""
    several = [f"{label} {count}" for label, count in num_seeds.items() if count > 1]
    if not several:
        return None
    return (
        f"Mean ± sample standard deviation over seeds ({', '.join(several)}); rows without ± are "
        "of one seed. The architecture shown is the first seed's."
    )
