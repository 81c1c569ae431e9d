import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import onnx
import pytest
import torch
from rounding import is_clear, rounding_bound

from fofa.errors import UserError
from fofa.export import int8_model as int8_model_module
from fofa.export.exporter import ExportRequest, export_network
from fofa.export.onnx_file import noise_images
from fofa.recalibration import keep_statistics
from fofa.runtime.int8 import ActivationRange, Int8Scheme
from fofa.runtime.session import session_logits
from fofa.runtime.tensorrt import MODULES
from fofa.space import macs, params, parse_architecture

RTX = any(find_spec(name) for name in MODULES[1:]) and not find_spec("tensorrt")
ELASTIC = parse_architecture("3x3+3x4-3x3+3x3-3x3+3x3-3x3+3x3-3x3+3x3@32")


@pytest.fixture
def request_(run, architecture, shapes, tmp_path) -> ExportRequest:
    return ExportRequest(
        run=run,
        architecture=architecture,
        out=tmp_path / "n.onnx",
        data=shapes,
        calibration_images=64,
        batch_size=32,
        quantisation_images=40,
        test_images=200,
    )


def top1_of(path, shapes, images: int) -> float:
    """Accuracy of a file, counted independently."""
    logits = session_logits(path)
    correct = [logits(x).argmax(1) == y.numpy() for x, y in shapes.test_batches(32, 50, images)]
    return 100 * float(np.mean(np.concatenate(correct)))


def test_the_file_is_the_network_and_says_what_it_is(request_, run, network, shapes) -> None:
    result = export_network(request_)
    assert result.max_difference <= 1e-3
    assert result.statistics == "recalibrated"
    assert result.accuracy.test_images == 200
    assert result.accuracy.top1 == pytest.approx(top1_of(request_.out, shapes, 200))
    model = onnx.load(request_.out)
    props = {p.key: p.value for p in model.metadata_props}
    assert props["architecture"] == "23432@32"
    assert props["input_size"] == "32"
    assert json.loads(props["class_names"]) == list(shapes.class_names)
    assert json.loads(props["mean"]) == pytest.approx(shapes.mean)
    assert float(props["top1"]) == pytest.approx(result.accuracy.top1)
    config = run.record.supernet.network
    assert int(props["macs"]) == macs(request_.architecture, config)
    assert int(props["params"]) == params(request_.architecture, config)


def test_top1_equals_the_subnets_on_the_whole_test_set(request_, network, shapes) -> None:
    export_network(replace(request_, test_images=0))
    logits = session_logits(request_.out)
    for images, _ in shapes.test_batches(32, 250):
        with torch.inference_mode():
            expected = network(images)
        actual, bound = torch.from_numpy(logits(images)), rounding_bound(network, expected)
        assert (actual - expected).abs().max() <= bound
        clear = is_clear(expected, bound)
        assert clear.float().mean() > 0.5
        assert actual[clear].argmax(1).equal(expected[clear].argmax(1))


@pytest.mark.parametrize("dtype", ["fp16", "int8"])
def test_smaller_types_come_with_their_accuracy(request_, shapes, dtype) -> None:
    result = export_network(replace(request_, dtype=dtype))
    assert result.accuracy.top1 == pytest.approx(top1_of(request_.out, shapes, 200))
    assert result.reference_top1 is not None
    assert result.max_difference is not None
    props = {p.key: p.value for p in onnx.load(request_.out).metadata_props}
    assert props["dtype"] == dtype


@pytest.mark.parametrize(
    "scheme",
    [
        Int8Scheme(),
        Int8Scheme(ranges="percentile", percentile=99, weights="tensor"),
        Int8Scheme(float_parts=("first", "last", "squeeze")),
        Int8Scheme(weight_bits=7),
    ],
)
def test_an_int8_file_is_as_its_scheme_says_and_says_so(request_, scheme) -> None:
    export_network(replace(request_, dtype="int8", scheme=scheme, test_images=0))
    model = onnx.load(request_.out)
    kinds = {weight.name: weight for weight in model.graph.initializer if len(weight.dims) == 4}
    floats = {name for name, weight in kinds.items() if weight.data_type == 1}
    inner = {name for name in kinds if "squeeze" in name}
    assert floats == ({"0.conv.weight", *inner} if scheme.float_parts else set())
    scales = next(w for w in model.graph.initializer if w.name == "1.project.weight.scale")
    assert (list(scales.dims) == []) == (scheme.weights == "tensor")
    values = onnx.numpy_helper.to_array(kinds["1.project.weight"])
    assert np.abs(values).max() == 2 ** (scheme.weight_bits - 1) - 1
    props = {p.key: p.value for p in model.metadata_props}
    assert props["quantisation"] == f"{scheme.text}; ranges of 40 training images"


def test_an_int8_file_of_wrong_ranges_is_not_written(request_, monkeypatch) -> None:
    """The simulation and the graph get different ranges."""
    right = int8_model_module.network_model

    def wrong(*args, ranges, **options):
        narrow = {name: ActivationRange(r.low / 3, r.high / 3) for name, r in ranges.items()}
        return right(*args, ranges=narrow, **options)

    monkeypatch.setattr(int8_model_module, "network_model", wrong)
    with pytest.raises(UserError, match="the int8 network differs from its simulation"):
        export_network(replace(request_, dtype="int8", test_images=0))
    assert not request_.out.exists()


def test_int8_without_training_images_is_an_error(request_, shapes, monkeypatch) -> None:
    plain = type(shapes).calibration_batches

    def none_for_ranges(self, resolution, num_images, batch_size, seed=0):
        return iter(()) if seed else plain(self, resolution, num_images, batch_size, seed)

    monkeypatch.setattr(type(shapes), "calibration_batches", none_for_ranges)
    with pytest.raises(UserError, match="there are none"):
        export_network(replace(request_, dtype="int8", test_images=0))


def test_an_older_word_for_a_type_is_read_and_the_new_one_written(request_) -> None:
    export_network(replace(request_, dtype="float16", test_images=0))
    props = {p.key: p.value for p in onnx.load(request_.out).metadata_props}
    assert props["dtype"] == "fp16"


@pytest.mark.parametrize("dtype", ["fp32", "int8"])
def test_a_file_of_a_fixed_batch(request_, shapes, dtype) -> None:
    result = export_network(replace(request_, dtype=dtype, fixed_batch=3))
    [taken] = onnx.load(request_.out).graph.input
    assert [size.dim_value for size in taken.type.tensor_type.shape.dim] == [3, 3, 32, 32]
    assert result.accuracy.top1 == pytest.approx(top1_of(request_.out, shapes, 200))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_an_engine_says_what_is_missing(request_, tmp_path) -> None:
    engine = replace(request_, format="tensorrt", out=tmp_path / "n.plan", test_images=0)
    with pytest.raises(UserError, match=r"no NVIDIA GPU|not installed"):
        export_network(engine)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not RTX, reason="TensorRT-RTX builds without a GPU, and it is not used here")
@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_an_engine_is_built_for_a_gpu_that_is_not_there(request_, tmp_path, dtype) -> None:
    engine = replace(request_, format="tensorrt", dtype=dtype, out=tmp_path / "n.plan")
    result = export_network(replace(engine, compute_capability="8.6"))
    assert (tmp_path / "n.plan").stat().st_size > 10_000
    assert result.accuracy.runtime == "onnxruntime"
    with pytest.raises(UserError, match=r"builds for compute capability .*, not 1\.0"):
        export_network(replace(engine, compute_capability="1.0", out=tmp_path / "other.plan"))
    assert not (tmp_path / "other.plan").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="an engine for this GPU needs one")
def test_an_engine_for_the_gpu_that_is_here(request_, tmp_path) -> None:
    export_network(replace(request_, format="tensorrt", fixed_batch=4, out=tmp_path / "n.plan"))
    assert (tmp_path / "n.plan").stat().st_size > 10_000


@pytest.mark.slow
def test_a_program(request_, tmp_path) -> None:
    result = export_network(replace(request_, format="torch", out=tmp_path / "n.pt2"))
    assert result.max_difference <= 1e-3
    assert result.accuracy.runtime == "pytorch"


def test_kept_statistics_are_used_and_need_no_data(run, request_, network, tmp_path) -> None:
    path = keep_statistics(run, request_.architecture, network)
    try:
        result = export_network(replace(request_, data=None))
        assert result.statistics == "kept"
        assert result.accuracy is None
        images = noise_images(32)
        with torch.inference_mode():
            expected = network(images)
        difference = np.abs(session_logits(request_.out)(images) - expected.numpy()).max()
        assert difference <= rounding_bound(network, expected)
    finally:
        path.unlink()
    with pytest.raises(UserError, match="no BatchNorm statistics of 23432@32 are kept"):
        export_network(replace(request_, data=None))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"architecture": ELASTIC},
            "compound",
        ),
        ({"format": "torch", "dtype": "int8"}, "fp32"),
        ({"format": "tensorrt", "dtype": "int8"}, "fp32 or fp16"),
        ({"dtype": "int8", "data": None}, "needs calibration images"),
        ({"dtype": "bf16"}, "--dtype 'bf16': expected one of fp32, fp16, int8"),
        ({"format": "torch", "fixed_batch": 2}, "batches of any size"),
        ({"compute_capability": "8.6"}, "goes with TensorRT engines"),
    ],
)
def test_requests_that_cannot_be(request_, change, message) -> None:
    with pytest.raises(UserError, match=message):
        replace(request_, **change)


def test_a_failed_export_leaves_the_old_file(request_, monkeypatch) -> None:
    request_.out.write_text("old")
    monkeypatch.setattr("fofa.export.onnx_file.TOLERANCES", {"fp32": 0.0, "fp16": 0.0})
    with pytest.raises(UserError, match="nothing was written"):
        export_network(request_)
    assert request_.out.read_text() == "old"
    assert [path.name for path in request_.out.parent.iterdir()] == ["n.onnx"]
