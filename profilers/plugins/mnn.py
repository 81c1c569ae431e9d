"""MNN on the CPU: what networks are often deployed with on telephones and boards.

It reads its own format, to which the ONNX graphs that are exported are converted, as `fofa-export
--format mnn` does. What is timed is what people run, `forward(images)` of a loaded module: outputs
are new ones at every run and are not copied out of the runtime's memory. All networks share one
runtime, as its makers advise for more than one network. It computes fp32 only: it makes fp32 graphs
of fp16 ones, and its converter does not take the pairs of QuantizeLinear and DequantizeLinear of
int8 ones. The process is kept on as many cores as it has threads where the system allows it;
`pin=off` leaves that to the scheduler.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx

from fofa.precision import Precision
from fofa.runtime.graph import build_model, graph_inputs, random_input, random_values
from fofa.runtime.mnn import INSTALL_HINT, PRECISION, MnnNetwork, MnnRuntime
from fofa.space import BlockSpec
from profilers.plugin import Availability, MeasuringPlugin, PluginOptions, Runner
from profilers.plugins.cpu_options import PIN, CpuOptions
from profilers.plugins.cpu_session import CpuSession

DTYPES: tuple[Precision, ...] = ("fp32",)


class MnnPlugin(MeasuringPlugin):
    """Networks on the CPU, timed by the monotonic clock."""

    name = "mnn"
    summary = "MNN on the CPU"

    def availability(self) -> Availability:
        if find_spec("MNN") is None:
            return Availability(False, f"MNN is not installed: {INSTALL_HINT}")
        return Availability(True)

    def open(self, options: PluginOptions) -> MnnSession:
        return MnnSession(CpuOptions.of(self.name, options, dtypes=DTYPES, choices={"pin": PIN}))


class MnnSession(CpuSession):
    """The runtime with fixed options.

    Raises:
        UserError: if MNN is not installed.
    """

    def __init__(self, options: CpuOptions) -> None:
        self._runtime = MnnRuntime(options.threads)
        super().__init__(MnnPlugin.name, self._runtime.version, options)

    def settings(self) -> dict[str, Any]:
        return {"precision": PRECISION}

    def lower(self, blocks: Sequence[BlockSpec]) -> MnnRunner:
        model = build_model(blocks, self._batch_size, self._dtype)
        return self._runner(model, random_values(blocks, self._batch_size))

    def open_model(self, model: onnx.ModelProto) -> MnnRunner:
        shapes = [value.type.tensor_type.shape.dim for value in graph_inputs(model)]
        return self._runner(model, random_input([size.dim_value for size in shapes[0]]))

    def _runner(self, model: onnx.ModelProto, values: np.ndarray) -> MnnRunner:
        network = self._runtime.open(model)
        network(values)  # a network that does not run is told here
        return MnnRunner(network, values)


class MnnRunner(Runner):
    """A network whose input is copied once to where it is read."""

    def __init__(self, network: MnnNetwork, values: np.ndarray) -> None:
        self._network: Any = network
        self._given: Any = network.given(values)

    def run(self) -> float:
        start = time.perf_counter_ns()
        self._network.run(self._given)
        return (time.perf_counter_ns() - start) / 1e6

    def close(self) -> None:
        self._network = self._given = None


PLUGIN = MnnPlugin()
