"""Pairing latency with accuracy: architectures with both numbers.

This is the one place that decides what may be paired. Tables of another family, space, width or
set of resolutions are refused, and int8 with floating point, naming both sides. Two exceptions,
each announced in `notes`, which every output repeats: a published table (the Note10's is of width
1.2 and starts at 160 px), and an accuracy that declares itself a stand-in for larger images
(`ProxyRecord`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fofa.accuracy import AccuracyTable, ProxyRecord, SpaceRecord
from fofa.errors import UserError
from fofa.latency import Lut
from fofa.predictor.model import Predictor
from fofa.search.costs import deviation_costs, energy_costs, latency_costs, macs_costs
from fofa.space import Architecture, NetworkConfig, SpaceKind
from fofa.space.encoding import Population, compound_architectures, compound_population, encode


@dataclass(frozen=True, slots=True)
class Candidates:
    """Architectures with their numbers, one row each.

    Attributes:
        architectures: as the accuracy table names them.
        timed_as: the architecture whose latency was looked up (differs in resolution only, and
            only for a declared stand-in).
        top1: percent, float64 (N,).
        latency_ms: of a batch, float64 (N,); NaN where there is no latency table.
        deviation_ms: standard deviation of its error, as far as the table has it for each network,
            float64 (N,).
        energy_mj: of one image, float64 (N,); NaN where the table has no energies.
        macs: of the accuracy table's architecture, int64 (N,).
        notes: sentences that every output made from these rows must repeat.
    """

    architectures: tuple[Architecture, ...]
    timed_as: tuple[Architecture, ...]
    top1: np.ndarray
    latency_ms: np.ndarray
    deviation_ms: np.ndarray
    energy_mj: np.ndarray
    macs: np.ndarray
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.architectures)

    def __getitem__(self, rows: np.ndarray) -> Candidates:
        """Only these rows."""
        return Candidates(
            architectures=tuple(self.architectures[int(row)] for row in rows),
            timed_as=tuple(self.timed_as[int(row)] for row in rows),
            top1=self.top1[rows],
            latency_ms=self.latency_ms[rows],
            deviation_ms=self.deviation_ms[rows],
            energy_mj=self.energy_mj[rows],
            macs=self.macs[rows],
            notes=self.notes,
        )


@dataclass(frozen=True, slots=True)
class Pairing:
    """How an accuracy and a latency table go together.

    Attributes:
        resolutions: of the accuracy, that are paired.
        scale: from a resolution of the accuracy to that of the latency; 1 unless declared.
        notes: sentences that every output must repeat.
    """

    resolutions: tuple[int, ...]
    scale: int
    notes: tuple[str, ...]

    @property
    def timed(self) -> tuple[int, ...]:
        """The latency's resolutions, in the same order."""
        return tuple(resolution * self.scale for resolution in self.resolutions)


def pair(
    lut: Lut,
    accuracy: AccuracyTable,
    *,
    resolutions: Sequence[int] | None = None,
    any_type: bool = False,
) -> Candidates:
    """Every architecture of `accuracy` that `lut` can time, with both numbers.

    Args:
        resolutions: keep only architectures measured at these (as the accuracy table names them).
        any_type: pair int8 with floating point, too, and note it: where devices are compared, and
            not networks chosen.

    Raises:
        UserError: if the two tables may not be paired, naming both sides.
    """
    sides = _sides(lut, f"accuracy table of {accuracy.recipe}")
    notes = _check_network(lut, accuracy.space, sides)
    if (fault := _types_fault(lut, accuracy.dtype)) is not None:
        if not any_type:
            raise UserError(f"{sides} do not fit: {fault}; fofa-eval --dtype makes tables of each")
        notes.append(f"On {lut.device.requested}: {fault}.")
    # Of an elastic supernet, a compound table can time the compound architectures only.
    elastic = lut.space.kind == "compound" and accuracy.space.kind == "elastic"
    if elastic and not all(row.architecture.subnet.is_compound for row in accuracy.architectures):
        raise UserError(f"{sides} do not fit: compound space and elastic space")
    scale, scale_notes = _resolution_scale(lut, accuracy.space, accuracy.proxy, sides)
    wanted = _wanted(resolutions, accuracy.space.resolutions, f"accuracy table {accuracy.recipe}")
    timed = set(lut.space.resolutions)
    shared = tuple(r for r in wanted if r * scale in timed)
    rows = measured(accuracy, resolutions=shared)
    if not len(rows):
        raise UserError(
            f"{sides} have no architecture in common at resolutions {sorted(wanted)}: "
            f"latency is known at {lut.space.resolutions}"
        )
    pairing = Pairing(shared, scale, (*notes, *scale_notes))
    population = encode(rows.architectures, shared, accuracy.space.family)
    return _timed(rows, population, lut, pairing, accuracy.space.kind)


def measured(accuracy: AccuracyTable, *, resolutions: Sequence[int] | None = None) -> Candidates:
    """Every architecture of `accuracy`, without latencies."""
    wanted = set(
        _wanted(resolutions, accuracy.space.resolutions, f"accuracy table {accuracy.recipe}")
    )
    rows = [row for row in accuracy.architectures if row.architecture.resolution in wanted]
    architectures = tuple(row.architecture for row in rows)
    return Candidates(
        architectures=architectures,
        timed_as=architectures,
        top1=np.array([row.top1 for row in rows]),
        latency_ms=np.full(len(rows), np.nan),
        deviation_ms=np.zeros(len(rows)),
        energy_mj=np.full(len(rows), np.nan),
        macs=np.array([row.macs for row in rows], dtype=np.int64),
        notes=(),
    )


def pair_predictor(
    lut: Lut | None, predictor: Predictor, *, resolutions: Sequence[int] | None = None
) -> Pairing:
    """How a predictor's accuracies go with `lut`; with None, alone.

    Args:
        resolutions: those to use; by default all that the predictor and the table know.

    Raises:
        UserError: if the two may not be paired, naming both sides.
    """
    record = predictor.record
    known = predictor.resolutions
    chosen = _wanted(resolutions, known, f"predictor of {record.recipe}")
    if lut is None:
        return Pairing(tuple(chosen), 1, ())
    sides = _sides(lut, f"predictor of {record.recipe}")
    notes = _check_network(lut, record.space, sides)
    if (fault := _types_fault(lut, "fp32")) is not None:
        raise UserError(f"{sides} do not fit: {fault}")
    timed, scale = set(lut.space.resolutions), 1
    if record.proxy is not None and not timed & set(known):
        scale = record.proxy.resolution_scale
        notes.append(_proxy_note(record.proxy, known))
    shared = tuple(r for r in chosen if r * scale in timed)
    if not shared or (resolutions is not None and len(shared) < len(chosen)):
        raise UserError(f"{sides} do not fit: resolutions {sorted(timed)} and {sorted(chosen)} px")
    return Pairing(shared, scale, tuple(notes))


def pair_with_all(
    luts: Sequence[Lut], predictor: Predictor, *, resolutions: Sequence[int] | None = None
) -> list[Pairing]:
    """How a predictor goes with each table, at the resolutions that all of them share.

    Without tables it is the predictor's pairing with none.

    Raises:
        UserError: if two may not be paired, or the tables share no resolution.
    """
    tables: list[Lut | None] = [*luts]
    pairings = [pair_predictor(lut, predictor, resolutions=resolutions) for lut in tables or [None]]
    shared = tuple(r for r in pairings[0].resolutions if all(r in p.resolutions for p in pairings))
    if not shared:
        raise UserError("the latency tables have no resolution in common")
    return [Pairing(shared, pairing.scale, pairing.notes) for pairing in pairings]


def predict_compound(lut: Lut | None, predictor: Predictor, pairing: Pairing) -> Candidates:
    """Every compound architecture with its predicted accuracy, and its latency if there is a table.

    Raises:
        UserError: if the table lacks a block.
    """
    family = predictor.record.space.family
    population = compound_population(pairing.resolutions, family)
    architectures = tuple(
        architecture
        for resolution in pairing.resolutions
        for architecture in compound_architectures(resolution, family)
    )
    costs = macs_costs(network_config(predictor), pairing.resolutions, kind="compound")
    rows = Candidates(
        architectures=architectures,
        timed_as=architectures,
        top1=100 * predictor.predict(population),
        latency_ms=np.full(len(architectures), np.nan),
        deviation_ms=np.zeros(len(architectures)),
        energy_mj=np.full(len(architectures), np.nan),
        macs=costs.of(population).round().astype(np.int64),
        notes=(),
    )
    return rows if lut is None else _timed(rows, population, lut, pairing, "compound")


def network_config(predictor: Predictor) -> NetworkConfig:
    """Family, width and classes of the networks whose accuracy is predicted."""
    record = predictor.record
    return NetworkConfig(
        family=record.space.family,
        width_mult=record.space.width_mult,
        num_classes=record.num_classes,
    )


def _timed(
    rows: Candidates, population: Population, lut: Lut, pairing: Pairing, kind: SpaceKind
) -> Candidates:
    """`rows` with the latencies that `lut` gives them; `kind` is the space they are from."""
    covered = "compound" if lut.space.kind == "compound" else kind
    costs = latency_costs(lut, pairing.timed, kind=covered)
    timed_as = rows.architectures
    if pairing.scale != 1:
        timed_as = tuple(Architecture(a.subnet, a.resolution * pairing.scale) for a in timed_as)
    return Candidates(
        architectures=rows.architectures,
        timed_as=timed_as,
        top1=rows.top1,
        latency_ms=costs.of(population),
        deviation_ms=deviation_costs(lut, pairing.timed, kind=covered).of(population),
        energy_mj=rows.energy_mj
        if lut.energy is None
        else energy_costs(lut, pairing.timed, kind=covered).of(population),
        macs=rows.macs,
        notes=pairing.notes,
    )


def _types_fault(lut: Lut, accuracy: str) -> str | None:
    """Why a latency and an accuracy are not of the same networks; None where they are.

    All floating point goes together: accuracy hardly depends on it, as exported files show.
    """
    timed = lut.protocol.dtype
    if (timed == "int8") == (accuracy == "int8"):
        return None
    return f"latency in {timed or 'floating point'}, accuracy in {accuracy}"


def _sides(lut: Lut, accuracy: str) -> str:
    return f"latency table of {lut.device.requested} and {accuracy}"


def _wanted(resolutions: Sequence[int] | None, known: Sequence[int], where: str) -> tuple[int, ...]:
    """The resolutions asked for, or all."""
    wanted = tuple(known if resolutions is None else resolutions)
    unknown = set(wanted) - set(known)
    if unknown:
        raise UserError(
            f"resolutions {sorted(unknown)} are not in the {where}, which has {list(known)}"
        )
    return wanted


def _check_network(lut: Lut, space: SpaceRecord, sides: str) -> list[str]:
    """Refuse another family, and another width, unless the table is published; notes on that."""
    table, notes = lut.space, []
    if table.family != space.family:
        raise UserError(f"{sides} do not fit: family {table.family} and family {space.family}")
    if table.width_mult != space.width_mult:
        if lut.method != "published":
            raise UserError(
                f"{sides} do not fit: width {table.width_mult:g} and width {space.width_mult:g}"
            )
        notes.append(
            f"The published {lut.device.requested} table is of width {table.width_mult:g}, the "
            f"accuracy of width {space.width_mult:g}; blocks are paired by position, as the paper "
            "does."
        )
    return notes


def _resolution_scale(
    lut: Lut, space: SpaceRecord, proxy: ProxyRecord | None, sides: str
) -> tuple[int, list[str]]:
    """The factor from accuracy resolution to latency resolution (1 unless declared), with notes."""
    timed, known = set(lut.space.resolutions), set(space.resolutions)
    scale, notes = 1, []
    if not known & timed and proxy is not None:
        scale = proxy.resolution_scale
        notes.append(_proxy_note(proxy, known))
    wanted = {resolution * scale for resolution in known}
    missing = wanted - timed
    if missing == wanted or (missing and lut.method != "published"):
        raise UserError(f"{sides} do not fit: resolutions {sorted(timed)} and {sorted(known)} px")
    if missing:
        notes.append(
            f"The published {lut.device.requested} table has no {_list(missing)} px; architectures "
            "of that resolution are left out."
        )
    return scale, notes


def _proxy_note(proxy: ProxyRecord, resolutions: Iterable[int]) -> str:
    known = set(resolutions)
    return (
        f"Accuracy was measured on images of {_span(known)} px and stands in for "
        f"{_span(r * proxy.resolution_scale for r in known)} px, where latency was taken "
        f"({proxy.reason})."
    )


def _span(values: Iterable[int]) -> str:
    numbers = sorted(values)
    return f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"


def _list(values: set[int]) -> str:
    return ", ".join(str(value) for value in sorted(values))
