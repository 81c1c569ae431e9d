"""OpenVINO on the CPU: what networks are often deployed with on Intel's and AMD's processors.

It reads the ONNX graphs that are exported. What is timed is one synchronous request, `infer()`, on
inputs that stay where they are and outputs that the request keeps. Precision is held at fp32 for
what is not int8, so that a processor with bf16 units does what the table says. One stream unless
`streams=N` asks for more: they share the threads, so that one request gets its part of them only.
The process is kept on as many cores as it has threads where the system allows it; `pin=off` leaves
that to the scheduler. The runtime's own pinning is off either way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx

from fofa.errors import UserError
from fofa.precision import Precision
from fofa.runtime.graph import build_model, random_input, random_values
from fofa.runtime.openvino import INSTALL_HINT, load_openvino, openvino_core
from fofa.space import BlockSpec
from profilers.plugin import Availability, MeasuringPlugin, PluginOptions, Runner
from profilers.plugins.cpu_options import PIN, CpuOptions
from profilers.plugins.cpu_session import CpuSession

DEVICE = "CPU"
DTYPES: tuple[Precision, ...] = ("fp32", "int8")


class OpenVinoPlugin(MeasuringPlugin):
    """Networks on the CPU, timed by the monotonic clock."""

    name = "openvino"
    summary = "OpenVINO on the CPU"

    def availability(self) -> Availability:
        if find_spec("openvino") is None:
            return Availability(False, f"openvino is not installed: {INSTALL_HINT}")
        return Availability(True)

    def open(self, options: PluginOptions) -> OpenVinoSession:
        chosen = CpuOptions.of(
            self.name, options, dtypes=DTYPES, choices={"pin": PIN}, free={"streams": "1"}
        )
        streams, threads = chosen.extra["streams"], chosen.threads
        if not (streams.isascii() and streams.isdecimal() and 1 <= int(streams[:9]) <= threads):
            raise UserError(
                f"openvino: streams {streams!r}, expected 1 to the number of threads, {threads}"
            )
        return OpenVinoSession(chosen)


class OpenVinoSession(CpuSession):
    """The runtime with fixed options.

    Raises:
        UserError: if openvino is not installed or has no CPU to run on.
    """

    def __init__(self, options: CpuOptions) -> None:
        version = str(load_openvino().__version__).partition("-")[0]
        self._core = openvino_core()
        try:
            # It counts the cores once in a process: here, before the process is kept on a few.
            self._processor = str(self._core.get_property(DEVICE, "FULL_DEVICE_NAME"))
        except RuntimeError as error:
            reason = self.reason(error)
            raise UserError(f"openvino does not run on this CPU: {reason}") from None
        super().__init__(OpenVinoPlugin.name, version, options)
        self._streams = int(options.extra["streams"])
        self._config = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": self._streams,
            "ENABLE_CPU_PINNING": False,
        }

    def settings(self) -> dict[str, Any]:
        return {"streams": self._streams, "inference_precision": "f32"}

    def hardware(self) -> dict[str, Any]:
        return {**super().hardware(), "openvino_device": self._processor}

    def lower(self, blocks: Sequence[BlockSpec]) -> OpenVinoRunner:
        model = build_model(blocks, self._batch_size, self._dtype)
        values = random_values(blocks, self._batch_size, self._dtype)
        return OpenVinoRunner(self._request(model.SerializeToString()), values)

    def open_model(self, model: onnx.ModelProto) -> OpenVinoRunner:
        request = self._request(model.SerializeToString())
        [taken] = request.model_inputs
        values = random_input(tuple(taken.shape)).astype(taken.element_type.to_dtype())
        return OpenVinoRunner(request, values)

    def reason(self, error: Exception) -> str:
        """The last line of a message that begins with where in the runtime it was raised."""
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[-1] if lines else type(error).__name__

    def _request(self, model: bytes) -> Any:
        """What runs a model, compiled with the session's settings."""
        compiled = self._core.compile_model(self._core.read_model(model), DEVICE, self._config)
        used = int(compiled.get_property("INFERENCE_NUM_THREADS"))
        if used != self._threads:
            raise UserError(
                f"openvino runs with {used} threads here, asked for are {self._threads}: "
                "--threads takes no more than the machine has cores"
            )
        return compiled.create_infer_request()


class OpenVinoRunner(Runner):
    """A request whose input is set once."""

    def __init__(self, request: Any, values: np.ndarray) -> None:
        self._request: Any = request
        # The runtime reads the array itself; it must live as long as the request.
        self._values: np.ndarray | None = np.ascontiguousarray(values)
        request.set_input_tensor(load_openvino().Tensor(self._values, shared_memory=True))

    def run(self) -> float:
        start = time.perf_counter_ns()
        self._request.infer()
        return (time.perf_counter_ns() - start) / 1e6

    def close(self) -> None:
        self._request = self._values = None


PLUGIN = OpenVinoPlugin()
