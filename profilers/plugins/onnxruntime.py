"""ONNX Runtime on the CPU: what most networks run on where there is no accelerator.

One thread unless more are asked for. What is timed is what people run: `session.run(None, inputs)`
with the runtime's own session options but for the number of threads. It hands out new outputs every
time; `binding=on` binds inputs and outputs once, which saves up to 3% of a network of 1.3 ms and
less of larger ones. `spinning=stop` lets worker threads sleep between runs, which only matters with
more than one thread. The process is kept on as many cores as it has threads where the system allows
it; `pin=off` leaves that to the scheduler. An int8 graph is the exported one, with its pairs of
QuantizeLinear and DequantizeLinear, of which the runtime makes 8-bit operators.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from fofa.errors import UserError
from fofa.runtime.graph import (
    BUILT_TYPES,
    INPUT_NAME,
    OUTPUT_NAME,
    build_model,
    output_shape,
    random_input,
    random_values,
    value_types,
)
from fofa.space import BlockSpec
from profilers.plugin import Availability, MeasuringPlugin, PluginOptions, Runner
from profilers.plugins.cpu_options import PIN, CpuOptions
from profilers.plugins.cpu_session import CpuSession

PROVIDER = "CPUExecutionProvider"
DETACHED_BYTES = 65_536
"""Weights from this size on are kept apart from the models, once for all that have the same."""
CHOICES = {"pin": PIN, "binding": ("off", "on"), "spinning": ("on", "stop")}
"""Options, their defaults first."""
INSTALL_HINT = "pip install onnxruntime"
INPUT_TYPES = {"tensor(float)": "fp32", "tensor(float16)": "fp16"}


class OnnxRuntimePlugin(MeasuringPlugin):
    """Networks on the CPU, timed by the monotonic clock."""

    name = "onnxruntime"
    summary = "ONNX Runtime on the CPU"

    def availability(self) -> Availability:
        if find_spec("onnxruntime") is None:
            return Availability(False, f"onnxruntime is not installed: {INSTALL_HINT}")
        return Availability(True)

    def open(self, options: PluginOptions) -> OnnxRuntimeSession:
        chosen = CpuOptions.of(self.name, options, dtypes=BUILT_TYPES, choices=CHOICES)
        return OnnxRuntimeSession(chosen)


class OnnxRuntimeSession(CpuSession):
    """The runtime with fixed options.

    Raises:
        UserError: if onnxruntime is not installed.
    """

    def __init__(self, options: CpuOptions) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(f"onnxruntime cannot be imported ({error}): {INSTALL_HINT}") from error
        super().__init__(OnnxRuntimePlugin.name, onnxruntime.__version__, options)
        self._runtime = onnxruntime
        self._chosen = {name: options.extra[name] for name in ("binding", "spinning")}
        self._weights: dict[tuple[tuple[int, ...], int, bytes], Any] = {}  # by shape, type, digest

    def settings(self) -> dict[str, Any]:
        return {"provider": PROVIDER, **self._chosen}

    def hardware(self) -> dict[str, Any]:
        found = super().hardware()
        with contextlib.suppress(PackageNotFoundError):
            found["onnx"] = version("onnx")
        return found

    def lower(self, blocks: Sequence[BlockSpec]) -> Runner:
        model = build_model(blocks, self._batch_size, self._dtype)
        weights = self._detach_weights(model)
        session = self._open(model.SerializeToString(), weights)
        values = random_values(blocks, self._batch_size, self._dtype)
        _, given_back = value_types(blocks, self._dtype)
        scores = np.empty(output_shape(blocks, self._batch_size), given_back)
        return self._runner(session, {INPUT_NAME: values}, {OUTPUT_NAME: scores}, weights)

    def open_model(self, model: onnx.ModelProto) -> Runner:
        session = self._open(model.SerializeToString())
        inputs = {value.name: self._random(value) for value in session.get_inputs()}
        names = [value.name for value in session.get_outputs()]
        outputs = dict(zip(names, session.run(None, inputs), strict=True))
        return self._runner(session, inputs, outputs, {})

    def _runner(
        self,
        session: Any,
        inputs: dict[str, np.ndarray],
        outputs: dict[str, np.ndarray],
        weights: Mapping[str, Any],
    ) -> Runner:
        if self._chosen["binding"] == "on":
            return BoundRunner(self._runtime, session, inputs, outputs, weights)
        return OnnxRuntimeRunner(session, inputs, weights)

    def _detach_weights(self, model: onnx.ModelProto) -> dict[str, Any]:
        """Take the large weights out of `model` and return them by name.

        Given apart, they are neither written into a message nor copied out of it, and layers of
        equal shape share one copy over all networks: a hundred of them then take half the memory.
        What a session makes of its weights (packed and reordered) remains its own.
        """
        weights = {}
        for weight in model.graph.initializer:
            if len(weight.raw_data) < DETACHED_BYTES:
                continue
            content = hashlib.sha256(weight.raw_data).digest()
            key = (tuple(weight.dims), weight.data_type, content)
            if key not in self._weights:
                array = numpy_helper.to_array(weight)
                self._weights[key] = self._runtime.OrtValue.ortvalue_from_numpy(array)
            weights[weight.name] = self._weights[key]
            weight.ClearField("raw_data")
            weight.data_location = onnx.TensorProto.EXTERNAL
            weight.external_data.add(key="location", value="given")
        return weights

    def _open(self, model: bytes, weights: Mapping[str, Any] | None = None) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if weights:
            options.add_external_initializers(list(weights), list(weights.values()))
        if self._chosen["spinning"] == "stop":
            options.add_session_config_entry("session.force_spinning_stop", "1")
        return self._runtime.InferenceSession(model, options, providers=[PROVIDER])

    def _random(self, value: Any) -> np.ndarray:
        """Random content for an input of a loaded network."""
        if value.type not in INPUT_TYPES:
            raise UserError(f"input {value.name} is a {value.type}, expected an image")
        return random_input(value.shape, INPUT_TYPES[value.type])


class OnnxRuntimeRunner(Runner):
    """A session that is run as people run it; every run allocates its outputs."""

    def __init__(
        self,
        session: Any,
        inputs: dict[str, np.ndarray],
        weights: Mapping[str, Any] | None = None,
    ) -> None:
        self._session, self._inputs = session, inputs
        # The runtime points into the weights; they must live as long as the session.
        self._weights = weights

    def run(self) -> float:
        start = time.perf_counter_ns()
        self._session.run(None, self._inputs)
        return (time.perf_counter_ns() - start) / 1e6

    def close(self) -> None:
        self._session = self._weights = None
        self._inputs = {}


class BoundRunner(Runner):
    """A session with its inputs and outputs bound to memory that stays."""

    def __init__(
        self,
        runtime: Any,
        session: Any,
        inputs: dict[str, np.ndarray],
        outputs: dict[str, np.ndarray],
        weights: Mapping[str, Any],
    ) -> None:
        self._session = session
        self._binding = session.io_binding()
        # The runtime points into these; they must live as long as the session.
        self._memory = (inputs, outputs, weights)
        for name, array in inputs.items():
            value = runtime.OrtValue.ortvalue_from_numpy(array)
            self._binding.bind_ortvalue_input(name, value)
        for name, array in outputs.items():
            value = runtime.OrtValue.ortvalue_from_numpy(array)
            self._binding.bind_ortvalue_output(name, value)

    def run(self) -> float:
        start = time.perf_counter_ns()
        self._session.run_with_iobinding(self._binding)
        return (time.perf_counter_ns() - start) / 1e6

    def close(self) -> None:
        self._binding = self._session = None
        self._memory = ({}, {}, {})


PLUGIN = OnnxRuntimePlugin()
