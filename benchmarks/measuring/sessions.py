"""Does a table hold for a stranger? Other networks, another exporter, another program.

Random networks are exported by torch.onnx and timed one after the other by a plain loop, in a
process that knows nothing of how fofa measures (`LOOP`: onnxruntime, numpy and a clock). What it
found is held against the intervals that the table states for them.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import kendalltau

from fofa.errors import UserError
from fofa.latency import Lut
from fofa.space import Architecture
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.validation import INTERVAL, MARGIN_LEVELS

LOOP = """
import json, sys, time
import numpy, onnxruntime
threads, runs = int(sys.argv[1]), int(sys.argv[2])
found = []
for path in sys.argv[3:]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    feed = {image.name: numpy.random.default_rng(0).random(image.shape, dtype=numpy.float32)}
    times = []
    for run in range(runs + 10):
        start = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - start)
    found.append(1000 * float(numpy.median(times[10:])))
print(json.dumps(found))
"""
TIMEOUT_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Met:
    """One network: what the table says of it, and what the loop took, in ms."""

    network: Architecture
    predicted_ms: float
    low_ms: float
    high_ms: float
    limit_ms: float
    measured_ms: float

    @property
    def error_percent(self) -> float:
        """Signed: positive where the table says too much."""
        return 100 * (self.predicted_ms / self.measured_ms - 1)

    @property
    def inside(self) -> bool:
        """Whether it lies in its interval."""
        return self.low_ms <= self.measured_ms <= self.high_ms


def meet(lut: Lut, num_networks: int, runs: int, seed: int) -> list[Met]:
    """Export, time and compare `num_networks` random networks of the table's space.

    Raises:
        UserError: if the table was not measured with onnxruntime and batch 1, or never validated.
    """
    protocol = lut.protocol
    if (protocol.plugin, protocol.batch_size, protocol.dtype) != ("onnxruntime", 1, "fp32"):
        raise UserError("this experiment needs a table of onnxruntime, batch 1, fp32")
    rng = random.Random(seed)
    networks: dict[Architecture, None] = {}
    while len(networks) < num_networks:
        networks[lut.search_space.sample(rng)] = None
    with tempfile.TemporaryDirectory(prefix="fofa-sessions-") as folder:
        files = export([*networks], lut, Path(folder))
        times = time_files(files, protocol.threads or 1, runs)
    bound = lut.bound(MARGIN_LEVELS["95"])
    met = []
    for network, measured in zip(networks, times, strict=True):
        interval, predicted = lut.interval_ms(network), lut.latency_ms(network)
        assert interval is not None
        limit = bound.factor * predicted + bound.deviations * lut.deviation_ms(network)
        met.append(Met(network, predicted, *interval, limit, measured))
    return met


def time_files(files: list[Path], threads: int, runs: int) -> list[float]:
    """The median latency of each ONNX file in ms, one after the other, in a process of its own.

    Raises:
        UserError: if a file does not run.
    """
    command = [sys.executable, "-c", LOOP, str(threads), str(runs), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    if done.returncode != 0:
        raise UserError(f"the loop failed: {done.stderr.strip().splitlines()[-1:]}")
    return [float(found) for found in json.loads(done.stdout)]


def export(networks: list[Architecture], lut: Lut, folder: Path) -> list[Path]:
    """The networks, with random weights, as torch.onnx writes them."""
    torch.manual_seed(0)
    space = lut.space
    config = SupernetConfig(
        family=space.family,
        kind=space.kind,
        width_mult=space.width_mult,
        num_classes=lut.num_classes or 1000,
        max_kernels=space.family.compound_kernels
        if space.kind == "compound"
        else (max(space.family.kernels),) * len(space.family.stages),
    )
    supernet = Supernet(config).eval()
    files = []
    for number, network in enumerate(networks):
        files.append(folder / f"{number}.onnx")
        image = torch.zeros(1, 3, network.resolution, network.resolution)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                supernet.extract(network.subnet).eval(), (image,), files[-1], dynamo=False
            )
    return files


def report(met: list[Met]) -> str:
    """The figures as a person reads them."""
    errors = np.array([one.error_percent for one in met])
    sizes = np.array([one.network.resolution for one in met])
    bias = ", ".join(
        f"{size} px {errors[sizes == size].mean():+.2f}%" for size in sorted({*sizes.tolist()})
    )
    rest = (1 + errors / 100) / np.median(1 + errors / 100) - 1
    predicted, measured = zip(*((one.predicted_ms, one.measured_ms) for one in met), strict=True)
    tau = kendalltau(predicted, measured).statistic
    lines = [
        f"networks          {len(met)}, exported by torch.onnx, timed by a plain loop",
        f"inside interval   {100 * np.mean([one.inside for one in met]):.0f}% (stated "
        f"{INTERVAL:.0%}; on average {_width(met):.1f}% either way)",
        f"within margin 95  {100 * np.mean([one.measured_ms <= one.limit_ms for one in met]):.0f}%",
        f"mean error        {np.abs(errors).mean():.2f}%, largest {np.abs(errors).max():.2f}%",
        f"bias              {errors.mean():+.2f}% ({bias})",
        f"beyond the common {100 * np.abs(rest).mean():.2f}%, largest "
        f"{100 * np.abs(rest).max():.2f}%; Kendall tau {tau:.3f}",
    ]
    return "\n".join(lines)


def _width(met: list[Met]) -> float:
    return float(np.mean([50 * (one.high_ms - one.low_ms) / one.predicted_ms for one in met]))
