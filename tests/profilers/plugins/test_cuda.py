"""The plugin `cuda`: its session driven on the CPU, and on a GPU where there is one."""

import contextlib
import gc
import time
import weakref

import onnx
import pytest
import torch

from fofa.errors import UserError
from fofa.runtime.graph import build_model
from fofa.space import NetworkConfig, SearchSpace, architecture_blocks, parse_architecture
from profilers.hardware import cuda as cuda_device
from profilers.hardware import nvml
from profilers.hardware.gpu_memory import SharedMemory
from profilers.plugin import PluginOptions
from profilers.plugins.cuda import PLUGIN, CudaRunner, CudaSession, Images
from profilers.plugins.gpu_options import GpuOptions

CONFIG = NetworkConfig(width_mult=0.25, num_classes=10)


class CpuInPlaceOfGpu:
    """A device that runs on the CPU and remembers what it ran."""

    name = "cpu"

    def __init__(self):
        self.outputs = []
        self.captured = 0

    def time(self, work, backlog):
        start = time.perf_counter()
        self.outputs.append(work())
        return 1e3 * (time.perf_counter() - start)

    def use(self):
        return contextlib.nullcontext()

    def capture(self, work):
        self.captured += 1
        return work

    def hardware(self):
        return {"gpu": {"name": "NVIDIA GeForce GTX 1080 Ti", "compute_capability": "6.1"}}

    def state(self):
        return {"gpu": {"sm_clock_mhz": 1500}}


def session_on_cpu(**changes):
    options = {"batch_size": 2, "dtype": "fp32", "memory_format": "contiguous"} | changes
    device = CpuInPlaceOfGpu()
    return device, CudaSession(device, GpuOptions(**options))


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_blocks_and_networks_run_in_the_chosen_type_and_batch(dtype):
    device, session = session_on_cpu(dtype=dtype)
    blocks = SearchSpace(resolutions=(32,)).unique_blocks(32, CONFIG)
    network = architecture_blocks(parse_architecture("22222@32"), CONFIG)
    with session:
        for listed in (blocks[:1], blocks[5:6], network):
            runner = session.lower(listed)
            assert runner.run() > 0
            runner.close()
    stem, _, scores = device.outputs
    assert scores.shape == (2, 10)
    assert scores.dtype == {"fp32": torch.float32, "fp16": torch.float16}[dtype]
    assert stem.is_contiguous()


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_images_and_weights_lie_as_was_chosen(dtype, memory_format):
    device, session = session_on_cpu(dtype=dtype, memory_format=memory_format)
    with session:
        network = architecture_blocks(parse_architecture("22222@32"), CONFIG)
        session.lower(network[:3]).run()
        assert session.protocol.model_dump()["memory_format"] == memory_format
    [features] = device.outputs
    assert features.shape[1] > 1
    assert features.shape[2] > 1
    assert features.is_contiguous() == (memory_format == "contiguous")
    last = features.is_contiguous(memory_format=torch.channels_last)
    assert last == (memory_format == "channels_last")


@pytest.mark.parametrize("channels_last", [False, True])
def test_images_of_every_size_share_one_buffer(channels_last):
    memory = SharedMemory("cpu")
    small = Images((2, 3, 4, 4), torch.float32, channels_last)
    large = Images((2, 8, 6, 6), torch.float32, channels_last)
    for images in (small, large, small):
        images.reserve(memory)
    assert (memory.moves, memory.num_bytes()) == (2, 2 * 8 * 6 * 6 * 4)
    views = [images.view(memory) for images in (small, large)]
    assert [tuple(view.shape) for view in views] == [small.shape, large.shape]
    assert views[0].data_ptr() == views[1].data_ptr()
    assert 0.8 < views[1].std() < 1.2
    order = torch.channels_last if channels_last else torch.contiguous_format
    assert all(view.is_contiguous(memory_format=order) for view in views)


def test_a_graph_is_captured_when_asked_for():
    blocks = SearchSpace(resolutions=(32,)).unique_blocks(32, CONFIG)[:1]
    for graphs in (False, True):
        device, session = session_on_cpu(graphs=graphs)
        with session:
            runner = session.lower(blocks)
            for _ in range(3):
                runner.run()
            assert device.captured == graphs
            larger = SearchSpace(resolutions=(64,)).unique_blocks(64, CONFIG)[:1]
            session.lower(larger).run()  # its images are elsewhere
            runner.run()
            assert device.captured == 3 * graphs


def test_a_captured_graph_keeps_what_it_reads():
    """A graph holds addresses only: a module that is freed takes its weights with it."""
    module, memory = torch.nn.Identity(), SharedMemory("cpu")
    images = Images((1, 1, 1, 1), torch.float32, channels_last=False)
    images.reserve(memory)
    alive = weakref.ref(module)
    device = CpuInPlaceOfGpu()
    device.capture = lambda work: lambda: None
    runner = CudaRunner(device, memory, module, images, graphs=True)
    runner.run()
    del module
    gc.collect()
    assert alive() is not None
    runner.close()
    gc.collect()
    assert alive() is None


def test_the_session_sets_cudnn_and_puts_it_back():
    before = (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32)
    with session_on_cpu()[1]:
        assert torch.backends.cudnn.enabled
        assert torch.backends.cudnn.benchmark
        assert not torch.backends.cudnn.allow_tf32
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32) == before


def test_the_protocol_says_how_it_was_measured():
    _, session = session_on_cpu(l2="cold", graphs=True, launch="hidden")
    with session:
        protocol = session.protocol.model_dump()
        assert protocol["plugin"] == "cuda"
        assert protocol["runtime"].startswith(f"torch {torch.__version__}")
        assert (protocol["l2"], protocol["cuda_graphs"], protocol["tf32"]) == ("cold", True, False)
        assert (protocol["launch"], protocol["copies"]) == ("hidden", "excluded")
        assert session.environment()["gpu"]["sm_clock_mhz"] == 1500
        assert session.hardware()["gpu"]["compute_capability"] == "6.1"


def test_a_closed_runner_is_refused():
    _, session = session_on_cpu()
    with session:
        runner = session.lower(SearchSpace(resolutions=(32,)).unique_blocks(32, CONFIG)[:1])
        runner.close()
        with pytest.raises(RuntimeError, match="closed"):
            runner.run()


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
@pytest.mark.parametrize("batch_size", [2, None])
def test_an_exported_file_runs_at_the_chosen_batch(tmp_path, dtype, batch_size):
    network = architecture_blocks(parse_architecture("22222@32"), CONFIG)
    onnx.save(build_model(network, batch_size, dtype), tmp_path / "net.onnx")
    device, session = session_on_cpu(dtype=dtype)
    with session:
        assert session.load(tmp_path / "net.onnx").run() > 0
    [scores] = device.outputs
    assert scores.shape == (2, 10)
    assert scores.dtype == {"fp32": torch.float32, "fp16": torch.float16}[dtype]


def test_files_that_are_no_network_of_the_chosen_batch_are_one_line(tmp_path):
    file = tmp_path / "net.onnx"
    _, session = session_on_cpu()
    with session:
        with pytest.raises(UserError, match=r"net\.onnx: no such file"):
            session.load(file)
        file.write_text("not a network")
        with pytest.raises(UserError, match=r"net\.onnx: cannot read the ONNX model"):
            session.load(file)
        model = build_model(SearchSpace().unique_blocks(32, CONFIG)[:1], 5)
        onnx.save(model, file)
        with pytest.raises(UserError, match="batch size is 5, asked for is 2"):
            session.load(file)
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
        model.graph.node[-1].op_type = "Mish"
        onnx.save(model, file)
        with pytest.raises(UserError, match=r"net\.onnx: .* the operator Mish"):
            session.load(file)


def test_without_a_gpu_the_plugin_says_so(monkeypatch):
    monkeypatch.setattr(nvml, "gpu_records", list)
    monkeypatch.setattr(cuda_device, "has_driver", lambda: False)
    assert "no NVIDIA GPU" in PLUGIN.availability().reason
    with pytest.raises(UserError, match="no NVIDIA GPU"):
        PLUGIN.open(PluginOptions())


@pytest.mark.parametrize("graphs", ["off", "on"])
def test_on_a_gpu_a_network_is_timed(graphs):
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here: nothing can be timed by CUDA events")
    network = architecture_blocks(parse_architecture("22222@128"), NetworkConfig())
    with PLUGIN.open(PluginOptions(batch_size=8, extra={"graphs": graphs})) as session:
        runner = session.lower(network)
        times = [runner.run() for _ in range(10)]
        assert min(times) > 0
        assert session.hardware()["gpu"]["name"]
