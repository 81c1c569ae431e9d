"""Building engines for the A100's compute capability, for real and with no GPU."""

import onnx
import pytest

from fofa.errors import UserError
from fofa.runtime import tensorrt as tensorrt_engines
from fofa.runtime.graph import build_model
from fofa.runtime.tensorrt import (
    Timings,
    build_engine,
    load_tensorrt,
    supported_capabilities,
)
from fofa.space import NetworkConfig, SearchSpace, architecture_blocks, parse_architecture

A100 = "8.0"
CONFIG = NetworkConfig()


@pytest.fixture(scope="module")
def runtime():
    if not tensorrt_engines.installed_modules():
        pytest.skip("neither TensorRT nor TensorRT-RTX is installed")
    loaded = load_tensorrt()
    if not loaded.builds_without_gpu:
        pytest.skip("TensorRT proper builds on a GPU only; TensorRT-RTX is not installed")
    return loaded


def model_of(blocks, *, batch_size=64, dtype="fp16"):
    return build_model(blocks, batch_size, dtype)


def test_every_kind_of_block_builds_for_the_a100(runtime):
    blocks = SearchSpace(resolutions=(128,)).unique_blocks(128, CONFIG)
    kinds = {(block.key.position, block.key.stage, block.key.block): block for block in blocks}
    assert len(kinds) == 13
    for block in kinds.values():
        model = model_of([block]).SerializeToString()
        assert build_engine(runtime, model, batch_size=64, compute_capability=A100)


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_a_whole_network_builds_for_the_a100(runtime, dtype):
    blocks = architecture_blocks(parse_architecture("22222@128"), CONFIG)
    model = model_of(blocks, dtype=dtype).SerializeToString()
    engine = build_engine(runtime, model, batch_size=64, compute_capability=A100)
    assert len(engine) > 1_000_000


def stem_model():
    return model_of(SearchSpace().unique_blocks(128, CONFIG)[:1])


def test_a_free_batch_dimension_is_filled_in(runtime):
    model = model_of(SearchSpace().unique_blocks(128, CONFIG)[:1], batch_size=None)
    onnx.checker.check_model(model)
    assert build_engine(runtime, model.SerializeToString(), batch_size=8, compute_capability=A100)


def free_size(model):
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    return model


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (lambda: b"no model", {}, "cannot read the ONNX model"),
        (lambda: b"", {}, "cannot read the ONNX model"),
        (lambda: stem_model().SerializeToString()[:-50], {}, "cannot read the ONNX model"),
        (
            lambda: stem_model().SerializeToString(),
            {"batch_size": 3},
            "batch size is 64, asked for is 3",
        ),
        (lambda: free_size(stem_model()).SerializeToString(), {}, "only the batch may be free"),
        (
            lambda: stem_model().SerializeToString(),
            {"compute_capability": "9.0"},
            r"builds for compute capability .*8\.0.*, not 9\.0; .*fofa-nas\[tensorrt\]",
        ),
    ],
)
def test_what_cannot_be_built_is_one_line(runtime, model, options, message):
    chosen = {"batch_size": 64, "compute_capability": A100} | options
    with pytest.raises(UserError, match=message) as caught:
        build_engine(runtime, model(), **chosen)
    assert "\n" not in str(caught.value)


def test_a_builder_that_measures_nothing_is_given_no_timings(runtime, recwarn):
    """TensorRT-RTX warns that its timing cache does nothing."""
    timings = Timings(b"of before")
    model = stem_model().SerializeToString()
    assert build_engine(runtime, model, batch_size=64, compute_capability=A100, timings=timings)
    assert timings.content == b"of before"
    assert not [warning for warning in recwarn if "iming" in str(warning.message)]


def test_the_a100_is_among_the_capabilities_that_need_no_gpu(runtime):
    assert A100 in supported_capabilities(runtime)


def test_a_missing_runtime_names_what_to_install(monkeypatch):
    monkeypatch.setattr(tensorrt_engines, "MODULES", ("no_such_tensorrt",))
    with pytest.raises(UserError, match=r"not installed: pip install 'fofa-nas\[tensorrt\]'"):
        load_tensorrt.__wrapped__()


def test_a_runtime_that_does_not_load_is_named_with_the_reason(monkeypatch, tmp_path):
    (tmp_path / "broken_tensorrt.py").write_text("raise ImportError('libnvinfer.so.10 is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tensorrt_engines, "MODULES", ("broken_tensorrt",))
    with pytest.raises(UserError, match=r"broken_tensorrt: libnvinfer\.so\.10 is missing"):
        load_tensorrt.__wrapped__()
