"""Sentences that say how a number was obtained: by which method, on what, with which error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from bench.tables import paper
from bench.tables.budgets import budget_of
from bench.tables.collect import AccuracySource, LutSource, Setting, SettingResults
from fofa.accuracy import AccuracyTable
from fofa.latency import Lut

MANY_SIZES = 6
ALIKE = "\N{ALMOST EQUAL TO}"
"""Marks what cannot be told from the best of its column."""
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


def latency_sentences(source: LutSource) -> list[str]:
    """Where the latencies of a table come from, and how far they can be trusted."""
    lut, name = source.lut, source.device_name
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
        sentences = [f"Latency of {source.device}: measured on {hardware}; {how}."]
        if lut.device.matches is False:
            sentences.append(f"That is not the hardware that {source.device} stands for ({name}).")
        elif source.paper_device and lut.device.matches is None:
            sentences.append(f"Nothing says that this is what {source.device} stands for ({name}).")
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


def _scale_text(tables: Sequence[AccuracyTable]) -> str:
    budgets = sorted({found for table in tables if (found := budget_of(table.training))})
    if budgets:
        return f", each within a training budget of {_joined(map(str, budgets))}"
    scales = sorted({table.training.epoch_scale for table in tables if table.training.epoch_scale})
    if not scales:
        return ""
    if len(scales) == 1:
        return f", epochs of every recipe scaled by {scales[0]:g}"
    listed = _joined(f"{scale:g}" for scale in scales)
    return f", epochs scaled DIFFERENTLY ({listed}), so that rows are not comparable"


def brief_accuracy(results: SettingResults) -> str:
    """The same in a line: data, images, sizes, and what small ones stand in for."""
    setting = results.setting
    tables = [source.table for source in results.sources]
    sides = setting.resolutions
    scales = {table.proxy.resolution_scale for table in tables if table.proxy}
    stands_in = [f" in place of {_span([side * scale for side in sides])}" for scale in scales]
    scaled = " epochs scaled DIFFERENTLY," if "DIFFERENTLY" in _scale_text(tables) else ""
    return (
        f"Top-1:{scaled} {setting.preset or setting.dataset}, {setting.test_images:,} "
        f"{setting.split} images, {_span(sides)}{''.join(stands_in)} px."
    )


def brief_latency(sources: Sequence[LutSource]) -> str:
    """Where latencies come from, in a line: how each table was obtained, and its error."""
    unknown = all(source.lut.validation is None for source in sources)
    devices = [_brief_device(source, error=not unknown) for source in sources]
    return f"Latency: {'; '.join([*devices, *(['error unknown'] if unknown else [])])}."


def _brief_device(source: LutSource, *, error: bool) -> str:
    lut = source.lut
    if lut.method == "measured":
        found = lut.device.hardware or source.device
        if lut.device.matches is False:
            found += f", not {source.device_name}"
    else:
        found = f"{source.device_name} {lut.method}"
    if error:
        known = lut.validation
        found += f", error {known.mape_percent:.2g}%" if known else ", error unknown"
    return f"{found}{', UNSTABLE' if lut.instability is not None else ''}"


def _span(values: Sequence[int]) -> str:
    """`32 to 56`."""
    ends = dict.fromkeys([min(values), max(values)])
    return " to ".join(map(str, ends))


def _joined(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def seed_sentences(results: SettingResults) -> list[str]:
    """What ± means, for the recipes that were trained more than once; nothing where none was."""
    counts = {
        recipe: sorted(Counter(source.budget for source in sources).values())
        for recipe, sources in results.by_recipe.items()
    }
    several = [
        f"{paper.label(recipe)} {' to '.join(dict.fromkeys([f'{few[0]}', f'{few[-1]}']))}"
        for recipe, few in counts.items()
        if few[-1] > 1
    ]
    if not several:
        return []
    return [
        f"Mean ± sample standard deviation over seeds ({', '.join(several)}); numbers without ± "
        "are of one seed."
    ]


def apart_sentences(sources: Sequence[AccuracySource]) -> list[str]:
    """How the best of a column is told from the others; nothing where there are no others."""
    if len({source.table.recipe for source in sources}) < 2:
        return []
    counts = Counter((source.table.recipe, source.budget) for source in sources)
    seeds = (
        "the seeds: their spread in all recipes of the column, by Student's t"
        if max(counts.values()) > 1
        else "nothing else: with one seed each, another training may differ by more"
    )
    return [
        f"Bold: above every other of its column. {ALIKE}: cannot be told from the best of its "
        "column, as the 95% interval of the difference holds 0.",
        f"Intervals are of {_images_of_intervals(sources)}; and of {seeds}.",
    ]


def _images_of_intervals(sources: Sequence[AccuracySource]) -> str:
    """How the test images enter the intervals: recipe by recipe what `Score.of` has to go by."""
    drawn = "the test images, drawn again for both at once"
    binomial = "their binomial errors, added as if each had images of its own (an upper bound)"
    kept = {source.outcomes.images for source in sources if source.outcomes}
    known = {(s.table.recipe, s.budget) for s in sources if s.outcomes}
    if len(kept) != 1:
        return f"the test images: {binomial}"
    if any((source.table.recipe, source.budget) not in known for source in sources):
        return f"{drawn} where outcomes were kept, else {binomial}"
    return (
        drawn
        if all(s.outcomes for s in sources)
        else f"{drawn}, by the seeds whose outcomes were kept"
    )
