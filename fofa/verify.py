"""Proof of a search's winner: it is built, exported, and timed on this device.

Timing is `fofa-profile --network`'s work and runs as a process of its own, so that this package
needs nothing of the profilers'.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from fofa.errors import UserError
from fofa.evaluate.calibrate import calibrate
from fofa.export.onnx_file import noise_images, write_onnx
from fofa.latency import Lut
from fofa.runs import Run
from fofa.search.outcome import Row, Verdict
from fofa.space import parse_architecture
from fofa.supernet.weights import load_supernet

PROFILE_MODULE = "profilers.commands.profile"
TIMEOUT_SECONDS = 600
NOISE_IMAGES = 16


def verify(row: Row, run: Run) -> Verdict:
    """Build the network of `row` from `run`, time it here, and compare.

    The network is exported as the table's were timed: at the resolution whose latency was looked
    up, and in float16 where the table is of that type. Noise images set its BatchNorm statistics:
    they keep activations in an ordinary range, and beyond that values do not change how long a
    network takes.

    Raises:
        UserError: if there is no table, the run is of another space or width than the table, or it
            cannot be timed here.
    """
    if row.lut is None or row.latency_ms is None:
        raise UserError("--verify needs a latency table to compare with")
    architecture = parse_architecture(row.timed_as)
    supernet, lut = run.record.supernet, Lut.read(Path(row.lut))
    if lut.method != "published" and lut.space.width_mult != supernet.width_mult:
        raise UserError(
            f"{run.folder}: the run is of width {supernet.width_mult:g}, the table {row.lut} of "
            f"width {lut.space.width_mult:g}"
        )
    if supernet.kind == "compound" and not architecture.subnet.is_compound:
        raise UserError(f"{run.folder}: the run's supernet has no elastic architectures")
    noise = noise_images(architecture.resolution, NOISE_IMAGES)
    batch = (noise, torch.zeros(NOISE_IMAGES, dtype=torch.int64))
    network = calibrate(load_supernet(run), architecture, [batch])
    with tempfile.TemporaryDirectory(prefix="fofa-verify-") as folder:
        file = Path(folder) / "network.onnx"
        metadata = {"architecture": architecture.name}
        half = lut.protocol.dtype == "fp16"
        write_onnx(network, architecture.resolution, file, metadata, half=half)
        timing = _profile(file, Path(row.lut), architecture.name)
    measured = float(timing["latency_ms"])
    warnings = [f"measured differently from the table: {text}" for text in timing["differences"]]
    if not timing["stability"]["stable"]:
        warnings += [f"unstable: {reason}" for reason in timing["stability"]["reasons"]]
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
        noise_percent=float(timing["noise_percent"]),
        limit_ms=row.limit_ms,
        holds=None if row.limit_ms is None else measured <= row.limit_ms,
        warnings=tuple(warnings),
    )


def _profile(network: Path, lut: Path, architecture: str) -> dict[str, Any]:
    """What `fofa-profile` measures of an exported network."""
    command = [sys.executable, "-m", PROFILE_MODULE, "--network", str(network)]
    command += ["--lut", str(lut), "--architecture", architecture, "--json"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"the network was not timed within {TIMEOUT_SECONDS} s") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise UserError(f"the network could not be timed: {lines[-1] if lines else 'no reason'}")
    try:
        timing = json.loads(done.stdout)
        fields = {"latency_ms", "noise_percent", "differences", "stability"}
        if not fields <= timing.keys():
            raise ValueError(f"no {', '.join(sorted(fields - timing.keys()))}")
    except (ValueError, AttributeError) as error:
        raise UserError(f"fofa-profile gave no usable result: {error}") from None
    return timing
