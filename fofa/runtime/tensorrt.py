"""From ONNX to a TensorRT engine: which runtime is installed, parsing, building.

TensorRT proper builds on the GPU that it is to run on. TensorRT-RTX builds for any compute
capability that it knows, with no GPU there; the last step happens when the engine is loaded. Types
are those of the ONNX graph (a strongly typed network); TF32 is switched off, so that fp32 means it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import onnx

from fofa.errors import UserError
from fofa.runtime.graph import fix_batch

MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
ENGINE_SUFFIXES = (".plan", ".engine")
"""Of files that hold a built engine rather than an ONNX model."""
OLDEST_MAJOR = {"TensorRT": 10, "TensorRT-RTX": 1}
DEFAULT_BATCH_SIZE = 64
"""What a GPU is measured with and built for unless told: enough images to fill it."""
INSTALL_HINT = (
    "pip install 'fofa-nas[tensorrt]', or 'fofa-nas[tensorrt-rtx]' on a GeForce RTX or RTX PRO"
)


@dataclass(frozen=True, slots=True)
class TensorRt:
    """An imported runtime. `messages` fills up with what it reports, `logger` must outlive it."""

    module: Any
    name: str
    version: str
    logger: Any
    messages: list[str] = field(default_factory=list)

    @property
    def builds_without_gpu(self) -> bool:
        """Whether engines are built for a compute capability rather than on a GPU."""
        return self.name == "TensorRT-RTX"


@dataclass(slots=True)
class Timings:
    """What the builder measured of single kernels (TensorRT's timing cache), for further builds.

    Whoever gives the same `Timings` to several builds saves measuring the same kernel again, and
    gets the same choice for it. TensorRT-RTX measures nothing when it builds and leaves it empty.
    """

    content: bytes = b""


def installed_modules() -> list[str]:
    """Those of the runtime's modules that can be found, found out without importing one."""
    return [name for name in MODULES if find_spec(name) is not None]


@functools.cache
def load_tensorrt() -> TensorRt:
    """The installed runtime: TensorRT, or TensorRT-RTX where only that is there.

    Raises:
        UserError: saying what to install, if neither is there, and why one that is does not load.
    """
    reasons = []
    for name in installed_modules():
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError, RuntimeError) as error:
            reasons.append(f"{name}: {error}")
            continue
        product = "TensorRT" if name == "tensorrt" else "TensorRT-RTX"
        version = str(module.__version__)
        if int(version.split(".")[0]) < OLDEST_MAJOR[product]:
            reasons.append(f"{product} {version} is too old, {OLDEST_MAJOR[product]} is needed")
            continue
        messages: list[str] = []
        return TensorRt(module, product, version, _logger(module, messages), messages)
    why = f" ({'; '.join(reasons)})" if reasons else ""
    raise UserError(f"TensorRT is not installed{why}: {INSTALL_HINT}")


def build_engine(
    runtime: TensorRt,
    model: bytes,
    *,
    batch_size: int,
    compute_capability: str | None = None,
    timings: Timings | None = None,
) -> bytes:
    """The serialized engine of an ONNX model, for batches of one size, which tables are measured
    with and which is what an engine is fastest at.

    Args:
        model: the bytes of an ONNX file; its own number types are kept.
        batch_size: fills in the model's batch dimension where that is free.
        compute_capability: such as `8.0`, to build for that (TensorRT-RTX only); None builds for
            the GPU that is there.
        timings: of earlier builds on this GPU; those of this one are added.

    Raises:
        UserError: if the model is not valid, or nothing can be built for that GPU.
    """
    module = runtime.module
    runtime.messages.clear()
    try:
        parsed = onnx.ModelProto.FromString(model)
    except Exception as error:  # protobuf raises a class of its own
        raise UserError(f"{runtime.name} cannot read the ONNX model: {error}") from None
    fix_batch(parsed, batch_size)
    builder = module.Builder(runtime.logger)
    # From TensorRT 11 on every network is strongly typed, and the flag may go.
    typed = getattr(module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = module.OnnxParser(network, runtime.logger)
    if not parser.parse(parsed.SerializeToString()) or network.num_outputs == 0:
        raise UserError(f"{runtime.name} cannot read the ONNX model: {_parser_fault(parser)}")
    config = builder.create_builder_config()
    config.clear_flag(module.BuilderFlag.TF32)
    if compute_capability is not None:
        _target(runtime, config, compute_capability)
    # The builder reads and writes it while it works: it has to live as long.
    measured = None
    if timings is not None and not runtime.builds_without_gpu:
        measured = _attach(config, timings)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise UserError(f"{runtime.name} cannot build the engine: {last_message(runtime)}")
    if timings is not None and measured is not None:
        timings.content = bytes(measured.serialize())
    return bytes(engine)


def supported_capabilities(runtime: TensorRt) -> list[str]:
    """Compute capabilities that can be built for without the GPU, such as `8.0`."""
    members = runtime.module.ComputeCapability.__members__
    numbers = sorted(int(name[2:]) for name in members if name.startswith("SM"))
    return [f"{number // 10}.{number % 10}" for number in numbers]


def last_message(runtime: TensorRt) -> str:
    """The runtime's latest error message."""
    return runtime.messages[-1] if runtime.messages else "it gives no reason"


def _target(runtime: TensorRt, config: Any, compute_capability: str) -> None:
    known = supported_capabilities(runtime) if runtime.builds_without_gpu else []
    if compute_capability not in known:
        raise UserError(
            f"{runtime.name} {runtime.version} builds for compute capability "
            f"{', '.join(known) or 'of the GPU present only'}, not {compute_capability}; "
            "TensorRT knows further ones: pip install 'fofa-nas[tensorrt]'"
        )
    config.num_compute_capabilities = 1
    member = "SM" + compute_capability.replace(".", "")
    config.set_compute_capability(getattr(runtime.module.ComputeCapability, member), 0)


def _attach(config: Any, timings: Timings) -> Any:
    """The timing cache that the builder was given; None if it takes none.

    Timings of another GPU or version are not taken: then it begins with none.
    """
    for content in (timings.content, b""):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache
    return None


def _parser_fault(parser: Any) -> str:
    errors: Sequence[str] = [parser.get_error(i).desc() for i in range(parser.num_errors)]
    return errors[0] if errors else "it is no ONNX file"


def _logger(module: Any, messages: list[str]) -> Any:
    """A logger that keeps errors instead of printing them; the runtime allows one a process."""

    class Logger(module.ILogger):
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(module.ILogger.ERROR):
                messages.append(message)

    return Logger()
