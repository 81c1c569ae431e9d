"""Faults that need the real runtime: cold caches, and inputs or weights without content."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime
from onnx import numpy_helper

from benchmarks.measuring import Finding
from fofa.runtime.graph import (
    INPUT_NAME,
    build_model,
    input_shape,
    random_input,
)
from fofa.space import BlockSpec, NetworkConfig, Subnet, compound_subnets, network_blocks
from profilers.measuring.schedule import PROFILE_RUNS, warmup_runs_needed
from profilers.plugin import PluginOptions, Runner
from profilers.plugins.onnxruntime import PLUGIN, PROVIDER, OnnxRuntimeRunner, OnnxRuntimeSession

RESOLUTION = 160
NETWORKS = 8
ROUNDS = 12
TINY = 1e-40
"""A denormal number in fp32."""


def findings() -> list[Finding]:
    """Cold caches; zeros and denormal numbers."""
    with PLUGIN.open(PluginOptions()) as session:
        return [_cold(session), *_values(session)]


def _cold(session: OnnxRuntimeSession) -> Finding:
    subnets = list(compound_subnets())[:: 243 // NETWORKS][:NETWORKS]
    runners = [session.lower(network_blocks(s, RESOLUTION, NetworkConfig())) for s in subnets]
    visits = np.array(
        [[[r.run() for _ in range(PROFILE_RUNS)] for r in runners] for _ in range(ROUNDS)]
    )[1:].reshape(-1, PROFILE_RUNS)
    ratio = np.median(visits / np.median(visits[:, -4:], axis=1, keepdims=True), axis=0)
    return Finding(
        "first run after another network (cold caches)",
        f"onnxruntime, {NETWORKS} networks at {RESOLUTION} px",
        "time over the steady time, run by run",
        ", ".join(f"{value:.2f}" for value in ratio[:5]),
        f"{warmup_runs_needed(visits)} runs are not recorded",
    )


def _values(session: OnnxRuntimeSession) -> list[Finding]:
    blocks = network_blocks(Subnet.compound((3,) * 5), RESOLUTION, NetworkConfig())
    times = _interleaved(
        {
            "random": session.lower(blocks),
            "zero input": _filled(blocks, input_value=0.0),
            "denormal input": _filled(blocks, input_value=TINY),
            "zero weights": _filled(blocks, weight_value=0.0),
            "denormal weights": _filled(blocks, weight_value=TINY),
        }
    )
    reference = times.pop("random")
    return [
        Finding(
            name,
            f"onnxruntime, 33333@{RESOLUTION}",
            "median latency",
            f"{value:.3f} ms ({100 * (value / reference - 1):+.1f}%)",
            f"{reference:.3f} ms (random values)",
        )
        for name, value in times.items()
    ]


def _interleaved(runners: dict[str, Runner]) -> dict[str, float]:
    """Median of the steady runs of each runner over rounds."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(ROUNDS):
        for name, runner in runners.items():
            runs = [runner.run() for _ in range(PROFILE_RUNS)]
            times[name].append(float(np.median(runs[-4:])))
    return {name: float(np.median(values)) for name, values in times.items()}


def _filled(
    blocks: Sequence[BlockSpec],
    *,
    input_value: float | None = None,
    weight_value: float | None = None,
) -> Runner:
    """The network with its input or all its weights set to one value, on one thread."""
    model = build_model(blocks, 1)
    if weight_value is not None:
        for weight in model.graph.initializer:
            filled = np.full(tuple(weight.dims), weight_value, dtype=np.float32)
            weight.CopyFrom(numpy_helper.from_array(filled, weight.name))
    values = random_input(input_shape(blocks, 1))
    if input_value is not None:
        values = np.full_like(values, input_value)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[PROVIDER])
    return OnnxRuntimeRunner(session, {INPUT_NAME: values})
