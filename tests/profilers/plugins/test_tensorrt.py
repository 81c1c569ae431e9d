"""The plugin `tensorrt`: engines built, kept and loaded, memory shared, runs timed; with fakes in
the shape of the bindings, with TensorRT-RTX's own builder, and on a GPU where there is one.

That engines are built for real is tested in `tests/fofa/runtime/test_tensorrt.py` too.
"""

import contextlib
import gc
import types
import weakref

import pytest
import torch
from fake_tensorrt import REAL_CLASSES, CudaEngine, ExecutionContext, FakeTensorRt

from fofa.errors import UserError
from fofa.runtime import tensorrt as tensorrt_engines
from fofa.runtime.graph import build_model
from fofa.runtime.tensorrt import load_tensorrt
from fofa.space import NetworkConfig, architecture_blocks, parse_architecture
from profilers.hardware import cuda as cuda_device
from profilers.hardware import nvml
from profilers.plugin import PluginOptions
from profilers.plugins.engine_cache import EngineCache
from profilers.plugins.gpu_options import GpuOptions
from profilers.plugins.tensorrt import PLUGIN, TensorRtSession

CONFIG = NetworkConfig(width_mult=0.25, num_classes=10)
BLOCKS = architecture_blocks(parse_architecture("22222@32"), CONFIG)
STEM = BLOCKS[:1]


class CpuInPlaceOfGpu:
    """A device whose memory is the host's; it remembers what was captured as a graph."""

    name = "cpu"
    stream = types.SimpleNamespace(cuda_stream=77)

    def __init__(self):
        self.captured = 0

    def use(self):
        return contextlib.nullcontext()

    def capture(self, work):
        self.captured += 1
        return work

    def time(self, work, backlog):
        work()
        return 1.5

    def hardware(self):
        return {"gpu": {"name": "NVIDIA A100-SXM4-40GB", "compute_capability": "8.0"}}

    def state(self):
        return {}


@pytest.fixture(params=["TensorRT", "TensorRT-RTX"])
def fake(request):
    return FakeTensorRt(request.param)


@pytest.fixture
def open_session(fake, tmp_path):
    """Opens sessions that keep their engines in one folder."""

    def open_one(*, device=None, runtime=None, **options):
        return TensorRtSession(
            runtime or fake.runtime,
            device or CpuInPlaceOfGpu(),
            GpuOptions(**{"batch_size": 3, "dtype": "fp16"} | options),
            EngineCache(tmp_path / "engines"),
        )

    return open_one


def test_the_fakes_have_the_names_of_the_bindings():
    if not tensorrt_engines.installed_modules():
        pytest.skip("neither TensorRT nor TensorRT-RTX is installed")
    module = load_tensorrt().module
    for name, stands_in in REAL_CLASSES.items():
        used = {attribute for attribute in vars(stands_in) if not attribute.startswith("_")}
        assert used <= set(dir(getattr(module, name))), name
    assert hasattr(module.ICudaEngine, "device_memory_size_v2")
    assert module.ExecutionContextAllocationStrategy.USER_MANAGED is not None


def test_with_the_real_builder_lowering_builds_the_engine_and_keeps_it(open_session, tmp_path):
    if not tensorrt_engines.installed_modules() or not load_tensorrt().builds_without_gpu:
        pytest.skip("TensorRT-RTX, which builds engines without a GPU, is not installed")
    if torch.cuda.is_available():
        pytest.skip("an A100 is pretended here; with a GPU present its engine would be loaded")
    session = open_session(runtime=load_tensorrt(), batch_size=4)
    with pytest.raises(UserError, match=r"cannot load the engine: .*CUDA driver"):
        session.lower(BLOCKS)
    [engine] = (tmp_path / "engines").iterdir()
    assert engine.stat().st_size > 10_000
    model = tmp_path / "net.onnx"
    model.write_bytes(build_model(STEM, 4, "fp16").SerializeToString())
    with pytest.raises(UserError, match=r"net\.onnx: TensorRT-RTX cannot load"):
        session.load(model)
    assert len(list((tmp_path / "engines").iterdir())) == 2
    protocol = session.protocol.model_dump()
    assert protocol["runtime"].startswith("TensorRT-RTX 1.")
    model.write_text("not a network")
    with pytest.raises(UserError, match=r"net\.onnx: TensorRT-RTX cannot read the ONNX model"):
        session.load(model)
    plan = tmp_path / "net.plan"
    plan.write_text("not an engine")
    with pytest.raises(UserError, match=r"net\.plan: TensorRT-RTX 1\S+ cannot load the engine"):
        session.load(plan)


def test_a_later_version_may_leave_out_what_it_no_longer_needs(open_session, fake):
    del fake.runtime.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    assert open_session().lower(STEM).run() == 1.5


def test_tensorrt_10_0_has_older_names(open_session, fake, monkeypatch):
    class OlderEngine(CudaEngine):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.device_memory_size = vars(self).pop("device_memory_size_v2")

    monkeypatch.setattr("fake_tensorrt.CudaEngine", OlderEngine)
    monkeypatch.delattr(ExecutionContext, "set_device_memory")
    session = open_session()
    session.lower(STEM).run()
    scratch = session._memory.values("scratch", torch.uint8, fake.scratch_bytes)
    assert fake.contexts[0].device_memory == scratch.data_ptr()


def test_a_kept_engine_is_loaded_and_not_built_again(fake, open_session):
    for _ in range(2):
        with open_session() as session:
            session.lower(STEM)
    assert (fake.built, fake.loaded) == (1, [b"engine 1"] * 2)


def test_a_kept_engine_that_no_longer_loads_is_built_anew(fake, open_session, caplog):
    open_session().lower(STEM)
    fake.refused.add(b"engine 1")
    open_session().lower(STEM)
    assert fake.loaded == [b"engine 1", b"engine 2"]
    assert "no longer loads, built anew: it is of another version" in caplog.text
    open_session().lower(STEM)
    assert (fake.built, fake.loaded[-1]) == (2, b"engine 2")
    fake.refused |= {b"engine 2", b"engine 3"}
    with pytest.raises(UserError, match="cannot load the engine: it is of another version"):
        open_session().lower(STEM)
    assert fake.built == 3


def test_a_replica_has_engines_of_its_own(fake, open_session, tmp_path):
    model = tmp_path / "net.onnx"
    model.write_bytes(build_model(STEM, None, "fp16").SerializeToString())
    with open_session() as session:
        for load, subject in ((session.lower, STEM), (session.load, model)):
            load(subject)
            before = fake.loaded[-1]
            again = session.replica(1)
            getattr(again, load.__name__)(subject)
            assert fake.loaded[-1] != before
    assert fake.built == 4
    with open_session() as session:
        session.lower(STEM)
        session.replica(1).lower(STEM)
    assert (fake.built, len(set(fake.loaded))) == (4, 4)


def test_a_replica_is_built_as_if_nothing_had_been_built_before(open_session, fake):
    with open_session() as session:
        session.lower(STEM)
        session.lower(BLOCKS[:2])
        session.replica(1).lower(BLOCKS[:2])
    if fake.runtime.builds_without_gpu:
        assert fake.given_timings == [None] * 3
    else:
        assert fake.given_timings == [b"", b"t", b""]


def test_timings_are_shared_and_kept_for_the_next_session(open_session, fake):
    for blocks in (STEM, BLOCKS[:2]):
        with open_session() as session:
            session.lower(blocks)
    measured = not fake.runtime.builds_without_gpu  # TensorRT-RTX's timing cache does nothing
    assert fake.given_timings == ([b"", b"t"] if measured else [None, None])


@pytest.mark.parametrize("fake", ["TensorRT"], indirect=True)
def test_kept_timings_of_another_gpu_are_not_used(open_session, fake):
    session = open_session()
    session._timings.content = b"another GPU's"
    session.lower(STEM)
    assert fake.given_timings == [b""]
    assert session._timings.content == b"t"


@pytest.mark.parametrize("fake", ["TensorRT-RTX"], indirect=True)
def test_compiled_kernels_are_shared_and_kept(open_session, fake):
    with open_session() as session:
        session.lower(STEM)
        first = session._kernels
        session.lower(BLOCKS[:2])
        assert session._kernels is first
        again = session.replica(1)
        again.lower(STEM)
        assert again._kernels is not first
    with open_session() as session:
        session.lower(STEM)
        assert session._kernels.content == b"k"


@pytest.mark.parametrize("fake", ["TensorRT-RTX"], indirect=True)
def test_kernels_of_another_driver_are_compiled_anew(open_session, fake, caplog):
    session = open_session()
    session._cache.note(session._kernels_file, b"another driver's")
    session.lower(STEM)
    assert session._kernels.content == b""
    assert "another driver or version" in caplog.text


def test_contexts_have_no_memory_of_their_own(open_session, fake):
    open_session().lower(STEM)
    assert [context.strategy for context in fake.contexts] == ["user's"]


def test_all_runners_share_one_scratch_one_input_and_one_output(open_session, fake):
    session = open_session()
    runners = []
    for size in (1000, 50_000, 20_000):
        fake.scratch_bytes = size
        runners.append(session.lower(BLOCKS[: len(runners) + 1]))
    for runner in runners:
        runner.run()
    memories = [context.device_memories[-1] for context in fake.contexts]
    assert len({address for address, _ in memories}) == 1
    assert [size for _, size in memories] == [1000, 50_000, 20_000]
    addresses = [tuple(context.addresses.values()) for context in fake.contexts]
    assert len(set(addresses)) == 1
    values = 3 * 2 * 4 * 4 * 4 + 3 * 10 * 2
    assert session._memory.num_bytes() == 50_000 + values


@pytest.mark.parametrize("graphs", [False, True])
def test_memory_that_moved_is_bound_and_captured_again(open_session, fake, graphs):
    device = CpuInPlaceOfGpu()
    session = open_session(device=device, graphs=graphs)
    first = session.lower(STEM)
    for _ in range(3):
        assert first.run() == 1.5
    assert (device.captured, len(fake.contexts[0].device_memories)) == (int(graphs), 1)
    fake.scratch_bytes = 50_000
    session.lower(BLOCKS[:2])
    first.run()
    assert (device.captured, len(fake.contexts[0].device_memories)) == (2 * graphs, 2)
    assert fake.contexts[0].streams == [77] * 4


def test_buffers_are_of_the_engines_types_and_inputs_are_random(open_session, fake):
    session = open_session()
    runner = session.lower(STEM)
    runner.run()
    given = session._memory.values("input 0", torch.float32, 3 * 2 * 4 * 4)
    result = session._memory.values("output 1", torch.float16, 3 * 10)
    assert given.abs().min() > 0
    assert fake.contexts[0].addresses == {"input": given.data_ptr(), "output": result.data_ptr()}
    runner.close()
    with pytest.raises(RuntimeError, match="closed"):
        runner.run()


def test_a_captured_graph_keeps_what_it_uses(open_session, fake):
    """A graph holds addresses only: an engine that is freed takes its weights with it."""

    class Captures(CpuInPlaceOfGpu):
        def capture(self, work):
            return lambda: None

    runner = open_session(device=Captures(), graphs=True).lower(STEM)
    runner.run()
    alive = weakref.ref(fake.contexts.pop())
    gc.collect()
    assert alive() is not None
    runner.close()
    gc.collect()
    assert alive() is None


def test_an_engine_that_does_not_start_run_or_fit_is_one_line(open_session, fake, monkeypatch):
    fake.starts = False
    with pytest.raises(UserError, match="cannot start the engine"):
        open_session().lower(STEM)
    fake.starts, fake.runs = True, False
    with pytest.raises(UserError, match="cannot run the engine"):
        open_session().lower(STEM).run()
    monkeypatch.setattr(CudaEngine, "get_tensor_dtype", lambda self, name: "int64")
    with pytest.raises(UserError, match="type int64, expected fp32 or fp16"):
        open_session().lower(STEM)


@pytest.mark.parametrize("suffix", [".plan", ".engine"])
def test_a_built_engine_is_timed_as_it_is(open_session, fake, tmp_path, suffix):
    file = tmp_path / f"net{suffix}"
    file.write_bytes(b"engine of somebody")
    session = open_session()
    for owner in (session, session.replica(1)):
        assert owner.load(file).run() == 1.5
    assert (fake.built, fake.loaded) == (0, [b"engine of somebody"] * 2)
    with pytest.raises(UserError, match="for batches of 3, asked for is 64; --batch-size"):
        open_session(batch_size=64).load(file)
    fake.batch_size = -1
    with pytest.raises(UserError, match=r"net\S+: the engine leaves the size of 'input' open"):
        session.load(file)
    file.write_bytes(b"something else")
    with pytest.raises(UserError, match="cannot load the engine: it is of another version"):
        session.load(file)
    with pytest.raises(UserError, match=r"gone\.plan: cannot read"):
        session.load(tmp_path / "gone.plan")


def test_the_protocol_says_how_it_was_measured(open_session):
    session = open_session(graphs=True, launch="hidden")
    protocol = session.protocol.model_dump()
    assert (protocol["dtype"], protocol["batch_size"], protocol["l2"]) == ("fp16", 3, "warm")
    assert (protocol["cuda_graphs"], protocol["launch"]) == (True, "hidden")
    assert protocol["copies"] == "excluded"
    assert session.replica(1).protocol == session.protocol
    assert session.hardware()["gpu"]["compute_capability"] == "8.0"


def test_graphs_are_on_unless_switched_off(monkeypatch, fake, tmp_path):
    opened = []

    def open_gpu(l2, launch):
        opened.append((l2, launch))
        return CpuInPlaceOfGpu()

    monkeypatch.setenv("FOFA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("profilers.plugins.tensorrt.load_tensorrt", lambda: fake.runtime)
    monkeypatch.setattr("profilers.plugins.tensorrt.open_gpu", open_gpu)
    assert PLUGIN.open(PluginOptions()).protocol.model_dump()["cuda_graphs"] is True
    without = PLUGIN.open(PluginOptions(extra={"graphs": "off", "l2": "cold"}))
    assert without.protocol.model_dump()["cuda_graphs"] is False
    assert opened == [("warm", "hidden"), ("cold", "included")]


def test_a_missing_runtime_and_a_missing_gpu_are_told_apart(monkeypatch):
    monkeypatch.setattr(nvml, "gpu_records", list)
    monkeypatch.setattr(cuda_device, "has_driver", lambda: False)
    if tensorrt_engines.installed_modules():
        assert "no NVIDIA GPU" in PLUGIN.availability().reason
        with pytest.raises(UserError, match="no NVIDIA GPU"):
            PLUGIN.open(PluginOptions())
    monkeypatch.setattr(tensorrt_engines, "MODULES", ())
    assert "pip install 'fofa-nas[tensorrt]'" in PLUGIN.availability().reason


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
