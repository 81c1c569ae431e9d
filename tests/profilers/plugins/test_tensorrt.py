"""The plugin `tensorrt`: what it says without a runtime or GPU, and timing where there is one.

That engines are built for real is tested in `tests/profilers/test_tensorrt_engines.py`.
"""

import pytest
import torch

from fofa.errors import UserError
from fofa.space import NetworkConfig, architecture_blocks, parse_architecture
from profilers import nvml, tensorrt_engines
from profilers.cuda_device import GpuOptions
from profilers.engine_cache import EngineCache
from profilers.onnx_graph import build_model
from profilers.plugin import PluginOptions
from profilers.plugins.tensorrt import PLUGIN, TensorRtSession
from profilers.tensorrt_engines import load_tensorrt

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
