"""Proof of a search's winner: it is built, exported, and timed on this device.

Timing is the work of the program `fofa-profile`, called as anybody would call it:

    fofa-profile --network FILE.onnx --lut TABLE.json --architecture NAME --json

It runs as a process of its own, which is also the better measurement. Of the JSON it prints, the
fields of `Timing` are read. This package knows nothing else of how latency is measured.
"""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console

from fofa.accuracy import NonNegative, Positive
from fofa.errors import UserError
from fofa.export.int8_model import int8_model
from fofa.export.onnx_file import noise_images, write_onnx
from fofa.files import explain
from fofa.latency import Lut, ProtocolRecord, Stability
from fofa.listing import Column, Listing
from fofa.precision import Precision
from fofa.recalibration import calibrate
from fofa.runs import Run
from fofa.runtime.int8 import Int8Scheme, Quantisation
from fofa.search.report import Row
from fofa.space import Architecture, parse_architecture
from fofa.supernet.network import PlainNetwork

PROFILE = "fofa-profile"
TIMEOUT_SECONDS = 600
NOISE_IMAGES = 16


class Timing(BaseModel):
    """What is read of the JSON that `fofa-profile --network` prints."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    latency_ms: Positive
    noise_percent: NonNegative
    differences: list[str]
    stability: Stability


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Predicted and measured latency of one row, side by side.

    Attributes:
        error_percent: of the prediction, signed: positive where it says more than was measured.
        noise_percent: of the measurement itself.
        low_ms, high_ms: the interval that the search stated; None where the table has no error.
        inside: whether the measurement fell inside; None where there is no interval.
        holds: whether the measured latency keeps the limit; None where there is no limit.
        warnings: why the comparison may not be a fair one (unstable, other conditions).
    """

    architecture: str
    lut: str
    predicted_ms: float
    measured_ms: float
    error_percent: float
    noise_percent: float
    low_ms: float | None
    high_ms: float | None
    inside: bool | None
    limit_ms: float | None
    holds: bool | None
    warnings: tuple[str, ...]


def verify(row: Row, run: Run, lut: Lut) -> Verdict:
    """Build the network of `row` from `run`, time it here, and compare with `lut`.

    The network is exported as the table's were timed: at the resolution whose latency was looked
    up, with the table's batch size, and in fp16 or int8 where the table is of that type. Noise
    images set its BatchNorm statistics and ranges: they keep activations in an ordinary range, and
    beyond that values do not change how long a network takes.

    Args:
        lut: the table that `row` was found with; its file may hold another one by now.

    Raises:
        UserError: if there is no table, the run is of another space or width than the table, or it
            cannot be timed here.
    """
    if row.lut is None or row.latency_ms is None:
        raise UserError("--verify needs a latency table to compare with")
    supernet = run.record.supernet
    if lut.space.family != supernet.family:
        raise UserError(
            f"{run.folder}: the run is of family {supernet.family}, the table {row.lut} of family "
            f"{lut.space.family}"
        )
    architecture = parse_architecture(row.timed_as, supernet.family)
    if lut.method != "published" and lut.space.width_mult != supernet.width_mult:
        raise UserError(
            f"{run.folder}: the run is of width {supernet.width_mult:g}, the table {row.lut} of "
            f"width {lut.space.width_mult:g}"
        )
    if supernet.kind == "compound" and not architecture.subnet.is_compound:
        raise UserError(f"{run.folder}: the run's supernet has no elastic architectures")
    noise = noise_images(architecture.resolution, NOISE_IMAGES)
    batch = (noise, torch.zeros(NOISE_IMAGES, dtype=torch.int64))
    network = calibrate(run.load_supernet(), architecture, [batch])
    with tempfile.TemporaryDirectory(prefix="fofa-verify-") as folder:
        file = Path(folder) / "network.onnx"
        _write(network, architecture, file, lut.protocol)
        table = Path(folder) / "table.json"
        lut.write(table)
        timing = _profile(file, table, architecture.name)
    measured = timing.latency_ms
    warnings = [f"measured differently from the table: {text}" for text in timing.differences]
    if not timing.stability.stable:
        warnings += [f"unstable: {reason}" for reason in timing.stability.reasons]
    if row.method != "measured":
        warnings.append(
            f"the table of {row.device} is {row.method}; whether this machine is one is not known"
        )
    if lut.num_classes not in (None, supernet.num_classes):
        warnings.append(
            f"the table is of networks with {lut.num_classes} classes, the run has "
            f"{supernet.num_classes}"
        )
    return Verdict(
        architecture=row.timed_as,
        lut=row.lut,
        predicted_ms=row.latency_ms,
        measured_ms=measured,
        error_percent=100 * (row.latency_ms / measured - 1),
        noise_percent=timing.noise_percent,
        low_ms=row.low_ms,
        high_ms=row.high_ms,
        inside=(
            None
            if row.low_ms is None or row.high_ms is None
            else row.low_ms <= measured <= row.high_ms
        ),
        limit_ms=row.limit_ms,
        holds=None if row.limit_ms is None else measured <= row.limit_ms,
        warnings=tuple(warnings),
    )


def _write(
    network: PlainNetwork, architecture: Architecture, file: Path, protocol: ProtocolRecord
) -> None:
    """The network in the number type and with the batch size that a table was measured with."""
    size, batch_size = architecture.resolution, protocol.batch_size
    noise = noise_images(size, NOISE_IMAGES)
    if protocol.dtype == "int8":
        model, _ = int8_model(
            network,
            size,
            [(noise, torch.zeros(NOISE_IMAGES))],
            Quantisation(Int8Scheme(), NOISE_IMAGES),
            check=noise,
            batch_size=batch_size,
        )
        file.write_bytes(model.SerializeToString())
        return
    dtype: Precision = "fp16" if protocol.dtype == "fp16" else "fp32"
    described = {"architecture": architecture.name}
    write_onnx(network, size, file, described, dtype=dtype, batch_size=batch_size)


def print_verdicts(verdicts: Sequence[Verdict], console: Console) -> None:
    """Predicted and measured latency side by side, with a verdict on the limit."""
    if not verdicts:
        return
    numbers = ("predicted", "interval", "measured", "error", "limit")
    columns = [
        Column("architecture"),
        *(Column(name, is_number=True) for name in numbers),
        Column("verdict"),
    ]
    rows = []
    for verdict in verdicts:
        words = {True: "within the limit", False: "over the limit", None: "no limit"}
        inside = {True: ", inside the interval", False: ", OUTSIDE the interval", None: ""}
        interval = "-"
        if verdict.low_ms is not None and verdict.high_ms is not None:
            interval = f"{verdict.low_ms:.3f} to {verdict.high_ms:.3f} ms"
        shown = (
            verdict.architecture,
            f"{verdict.predicted_ms:.3f} ms",
            interval,
            f"{verdict.measured_ms:.3f} ms ± {verdict.noise_percent:.1f}%",
            f"{verdict.error_percent:+.1f}%",
            "-" if verdict.limit_ms is None else f"{verdict.limit_ms:g} ms",
            words[verdict.holds] + inside[verdict.inside],
        )
        rows.append(shown)
    console.print(Listing("Verified on this device", columns, rows))
    for verdict in verdicts:
        for warning in verdict.warnings:
            console.print(f"Note: {warning}")


def _profile_program() -> str:
    """Path of `fofa-profile`: this installation's, else the one that a shell would find.

    Raises:
        UserError: if there is none.
    """
    found = shutil.which(PROFILE, path=sysconfig.get_path("scripts")) or shutil.which(PROFILE)
    if found is None:
        raise UserError(f"--verify times the network with {PROFILE}, which is not installed here")
    return found


def _profile(network: Path, lut: Path, architecture: str) -> Timing:
    """What `fofa-profile` measures of an exported network."""
    command = [_profile_program(), "--network", str(network)]
    command += ["--lut", str(lut), "--architecture", architecture, "--json"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"the network was not timed within {TIMEOUT_SECONDS} s") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise UserError(f"the network could not be timed: {lines[-1] if lines else 'no reason'}")
    try:
        return Timing.model_validate_json(done.stdout)
    except ValidationError as error:
        raise UserError(f"fofa-profile gave no usable result: {explain(error)}") from None
