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
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from fofa.errors import UserError
from fofa.latency import ProtocolRecord
from fofa.runtime.graph import (
    BUILT_TYPES,
    INPUT_NAME,
    OUTPUT_NAME,
    build_model,
    fix_batch,
    output_shape,
    random_input,
    random_values,
    value_types,
)
from fofa.space import BlockSpec
from profilers.hardware.cores import pinned
from profilers.hardware.energy import processor_counter
from profilers.plugin import (
    Availability,
    EnergyCounter,
    MeasuringPlugin,
    PluginOptions,
    Runner,
    Session,
)
from profilers.plugins.cpu_options import PIN, CpuOptions

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
        return OnnxRuntimeSession(
            chosen.batch_size,
            chosen.dtype,
            chosen.threads,
            pin=chosen.extra["pin"] == "on",
            binding=chosen.extra["binding"] == "on",
            spinning=chosen.extra["spinning"] == "on",
        )


class OnnxRuntimeSession(Session):
    """The runtime with fixed options.

    Raises:
        UserError: if onnxruntime is not installed.
    """

    def __init__(
        self,
        batch_size: int,
        dtype: str,
        threads: int,
        *,
        pin: bool = False,
        binding: bool = False,
        spinning: bool = True,
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(f"onnxruntime cannot be imported ({error}): {INSTALL_HINT}") from error
        self._runtime = onnxruntime
        self._batch_size = batch_size
        self._dtype = dtype
        self._threads = threads
        self._bound, self._spinning = binding, spinning
        self._weights: dict[tuple[tuple[int, ...], int, bytes], Any] = {}  # by shape, type, digest
        self._pinning = contextlib.ExitStack()
        self._cores = self._pinning.enter_context(pinned(threads)) if pin else None

    @property
    def protocol(self) -> ProtocolRecord:
        return ProtocolRecord(
            plugin="onnxruntime",
            runtime=f"onnxruntime {self._runtime.__version__}",
            dtype=self._dtype,
            batch_size=self._batch_size,
            threads=self._threads,
            provider=PROVIDER,
            clock="perf_counter",
            pinned=self._cores is not None,
            binding="on" if self._bound else "off",
            spinning="on" if self._spinning else "stop",
        )

    def hardware(self) -> dict[str, Any]:
        found: dict[str, Any] = {"onnxruntime": self._runtime.__version__}
        with contextlib.suppress(PackageNotFoundError):
            found["onnx"] = version("onnx")
        return found | ({"pinned_cores": sorted(self._cores)} if self._cores else {})

    def energy(self) -> contextlib.AbstractContextManager[EnergyCounter]:
        return processor_counter()

    def close(self) -> None:
        self._pinning.close()

    def lower(self, blocks: Sequence[BlockSpec]) -> Runner:
        model = build_model(blocks, self._batch_size, self._dtype)
        weights = self._detach_weights(model)
        session = self._open(model.SerializeToString(), weights)
        values = random_values(blocks, self._batch_size, self._dtype)
        _, given_back = value_types(blocks, self._dtype)
        scores = np.empty(output_shape(blocks, self._batch_size), given_back)
        return self._runner(session, {INPUT_NAME: values}, {OUTPUT_NAME: scores}, weights)

    def load(self, network: Path) -> Runner:
        if not network.is_file():
            raise UserError(f"{network}: no such file")
        try:
            model = onnx.load(network)
            fix_batch(model, self._batch_size)
            session = self._open(model.SerializeToString())
        except UserError as error:
            raise UserError(f"{network}: {error}") from None
        except Exception as error:  # the runtime raises a class of its own per fault
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"{network}: not a network that onnxruntime runs: {reason}") from None
        inputs = {value.name: self._random(network, value) for value in session.get_inputs()}
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
        if self._bound:
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
        if not self._spinning:
            options.add_session_config_entry("session.force_spinning_stop", "1")
        return self._runtime.InferenceSession(model, options, providers=[PROVIDER])

    def _random(self, network: Path, value: Any) -> np.ndarray:
        """Random content for an input of a loaded network."""
        if value.type not in INPUT_TYPES:
            raise UserError(f"{network}: input {value.name} is a {value.type}, expected an image")
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
