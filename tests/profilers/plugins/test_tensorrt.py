"""The plugin `tensorrt`: what it says without a runtime or GPU, and timing where there is one.

That engines are built for real is tested in `tests/fofa/runtime/test_tensorrt.py`.
"""

import contextlib
import gc
import types
import weakref

import pytest
import torch

from fofa.errors import UserError
from fofa.runtime import tensorrt as tensorrt_engines
from fofa.runtime.graph import build_model
from fofa.runtime.tensorrt import TensorRt, load_tensorrt
from fofa.space import NetworkConfig, architecture_blocks, parse_architecture
from profilers.hardware import nvml
from profilers.hardware.cuda import GpuOptions
from profilers.plugin import PluginOptions
from profilers.plugins.engine_cache import EngineCache
from profilers.plugins.tensorrt import PLUGIN, TensorRtRunner, TensorRtSession

CONFIG = NetworkConfig(width_mult=0.25, num_classes=10)
BLOCKS = architecture_blocks(parse_architecture("22222@32"), CONFIG)


class A100WithoutADriver:
    """What the session asks of a device before it loads an engine."""

    name = "cuda:0"

    def hardware(self):
        return {"gpu": {"name": "NVIDIA A100-SXM4-40GB", "compute_capability": "8.0"}}

    def state(self):
        return {}


@pytest.fixture
def session(tmp_path):
    if not tensorrt_engines.installed_modules() or not load_tensorrt().builds_without_gpu:
        pytest.skip("TensorRT-RTX, which builds engines without a GPU, is not installed")
    options = GpuOptions(batch_size=4, dtype="fp16")
    cache = EngineCache(tmp_path / "engines")
    return TensorRtSession(load_tensorrt(), A100WithoutADriver(), options, cache)


def test_lowering_builds_the_engine_and_keeps_it(session, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("an A100 is pretended here; with a GPU present its engine would be loaded")
    with pytest.raises(UserError, match=r"cannot load the engine: .*CUDA driver"):
        session.lower(BLOCKS)
    [engine] = (tmp_path / "engines").iterdir()
    assert engine.stat().st_size > 10_000
    inode = engine.stat().st_ino
    with pytest.raises(UserError, match="cannot load the engine"):
        session.lower(BLOCKS)
    assert engine.stat().st_ino == inode  # the same file: not built again
    model = tmp_path / "net.onnx"
    model.write_bytes(build_model(BLOCKS[:1], 4, "fp16").SerializeToString())
    with pytest.raises(UserError, match=r"net\.onnx: TensorRT-RTX cannot load"):
        session.load(model)
    assert len(list((tmp_path / "engines").iterdir())) == 2


def test_a_file_that_is_no_network_is_named(session, tmp_path):
    (tmp_path / "net.onnx").write_text("not a network")
    with pytest.raises(UserError, match=r"net\.onnx: TensorRT-RTX cannot read the ONNX model"):
        session.load(tmp_path / "net.onnx")
    with pytest.raises(UserError, match=r"gone\.onnx: cannot read"):
        session.load(tmp_path / "gone.onnx")


def test_the_protocol_says_how_it_was_measured(session):
    protocol = session.protocol.model_dump()
    assert protocol["runtime"].startswith("TensorRT-RTX 1.")
    assert (protocol["dtype"], protocol["batch_size"], protocol["l2"]) == ("fp16", 4, "warm")
    assert session.hardware()["gpu"]["compute_capability"] == "8.0"


def test_a_missing_runtime_and_a_missing_gpu_are_told_apart(monkeypatch):
    monkeypatch.setattr(nvml, "gpu_records", list)
    if tensorrt_engines.installed_modules():
        assert "no NVIDIA GPU" in PLUGIN.availability().reason
        with pytest.raises(UserError, match="no NVIDIA GPU"):
            PLUGIN.open(PluginOptions())
    monkeypatch.setattr(tensorrt_engines, "MODULES", ())
    assert "pip install 'fofa[tensorrt]'" in PLUGIN.availability().reason


class Engine:
    """An engine and its context at once: three fp32 images in, fp16 scores out."""

    num_io_tensors = 2
    names = ("input", "output")
    runs = True

    def __init__(self):
        self.addresses, self.streams = {}, []

    def create_execution_context(self):
        return self

    def get_tensor_name(self, index):
        return self.names[index]

    def get_tensor_mode(self, name):
        return name

    def get_tensor_dtype(self, name):
        return {"input": "float", "output": "half"}[name]

    def get_tensor_shape(self, name):
        return {"input": (3, 2, 4, 4), "output": (3, 10)}[name]

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        self.streams.append(stream)
        return self.runs


class CpuInPlaceOfGpu:
    name = "cpu"
    stream = types.SimpleNamespace(cuda_stream=77)

    def use(self):
        return contextlib.nullcontext()

    def capture(self, work):
        return work

    def time(self, work):
        work()
        return 1.5


def simulated_runtime():
    module = types.SimpleNamespace(
        TensorIOMode=types.SimpleNamespace(INPUT="input"),
        DataType=types.SimpleNamespace(FLOAT="float", HALF="half"),
    )
    return TensorRt(module, "TensorRT", "10.0", logger=None, messages=["out of memory"])


@pytest.mark.parametrize("graphs", [False, True])
def test_a_runner_binds_buffers_and_runs_on_the_devices_stream(graphs):
    engine = Engine()
    runner = TensorRtRunner(simulated_runtime(), CpuInPlaceOfGpu(), engine, graphs=graphs)
    given, result = runner._buffers
    assert (given.shape, given.dtype) == ((3, 2, 4, 4), torch.float32)
    assert (result.shape, result.dtype) == ((3, 10), torch.float16)
    assert given.abs().min() > 0
    assert engine.addresses == {"input": given.data_ptr(), "output": result.data_ptr()}
    assert runner.run() == 1.5
    assert engine.streams == [77]
    runner.close()
    with pytest.raises(RuntimeError, match="closed"):
        runner.run()


def test_a_captured_graph_keeps_what_it_uses():
    """A graph holds addresses only: an engine that is freed takes its weights with it."""

    class Captures(CpuInPlaceOfGpu):
        def capture(self, work):
            return lambda: None

    engine = Engine()
    alive = weakref.ref(engine)
    runner = TensorRtRunner(simulated_runtime(), Captures(), engine, graphs=True)
    del engine
    gc.collect()
    assert alive() is not None
    runner.close()
    gc.collect()
    assert alive() is None


def test_an_engine_that_does_not_start_run_or_fit_is_one_line():
    refused = Engine()
    refused.create_execution_context = lambda: None
    with pytest.raises(UserError, match="cannot start the engine: out of memory"):
        TensorRtRunner(simulated_runtime(), CpuInPlaceOfGpu(), refused, graphs=False)
    failing = Engine()
    failing.runs = False
    with pytest.raises(UserError, match="cannot run the engine: out of memory"):
        TensorRtRunner(simulated_runtime(), CpuInPlaceOfGpu(), failing, graphs=False).run()
    other = Engine()
    other.get_tensor_dtype = lambda name: "int64"
    with pytest.raises(UserError, match="type int64, expected fp32 or fp16"):
        TensorRtRunner(simulated_runtime(), CpuInPlaceOfGpu(), other, graphs=False)


def test_on_a_gpu_a_network_is_timed(tmp_path, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here: engines are built in other tests, but cannot be timed")
    if not tensorrt_engines.installed_modules():
        pytest.skip("neither TensorRT nor TensorRT-RTX is installed")
    monkeypatch.setenv("FOFA_CACHE_DIR", str(tmp_path))
    network = architecture_blocks(parse_architecture("22222@128"), NetworkConfig())
    with PLUGIN.open(PluginOptions(batch_size=8)) as session:
        runner = session.lower(network)
        assert min(runner.run() for _ in range(10)) > 0
