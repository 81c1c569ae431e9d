import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from fofa.errors import UserError
from fofa.evaluate.kept import keep_statistics
from fofa.export.exporter import deliver
from fofa.export.onnx_file import noise_images, session_logits
from fofa.export.request import ExportRequest
from fofa.space import macs, params, parse_architecture

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
    result = deliver(request_)
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
    deliver(replace(request_, test_images=0))
    logits = session_logits(request_.out)
    for images, _ in shapes.test_batches(32, 250):
        with torch.inference_mode():
            expected = network(images).numpy()
        actual = logits(images)
        # Random weights make logits of 10 and more, where float32 itself is 1e-4 off.
        assert np.abs(actual - expected).max() <= 1e-4 * max(1, np.abs(expected).max())
        assert np.array_equal(actual.argmax(1), expected.argmax(1))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_smaller_types_come_with_their_accuracy(request_, shapes, dtype) -> None:
    result = deliver(replace(request_, dtype=dtype))
    assert result.accuracy.top1 == pytest.approx(top1_of(request_.out, shapes, 200))
    assert result.reference_top1 is not None
    assert (result.max_difference is None) == (dtype == "int8")
    props = {p.key: p.value for p in onnx.load(request_.out).metadata_props}
    assert props["dtype"] == dtype


@pytest.mark.slow
def test_a_program(request_, tmp_path) -> None:
    result = deliver(replace(request_, format="torch", out=tmp_path / "n.pt2"))
    assert result.max_difference <= 1e-3
    assert result.accuracy.runtime == "pytorch"


def test_kept_statistics_are_used_and_need_no_data(run, request_, network, tmp_path) -> None:
    path = keep_statistics(run, request_.architecture, network)
    try:
        result = deliver(replace(request_, data=None))
        assert result.statistics == "kept"
        assert result.accuracy is None
        images = noise_images(32)
        with torch.inference_mode():
            expected = network(images).numpy()
        difference = np.abs(session_logits(request_.out)(images) - expected).max()
        assert difference <= 1e-4 * max(1, np.abs(expected).max())
    finally:
        path.unlink()
    with pytest.raises(UserError, match="no BatchNorm statistics of 23432@32 are kept"):
        deliver(replace(request_, data=None))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"architecture": ELASTIC},
            "compound",
        ),
        ({"format": "torch", "dtype": "int8"}, "float32"),
        ({"format": "tensorrt", "dtype": "int8"}, "float32 or float16"),
        ({"dtype": "int8", "data": None}, "needs calibration images"),
    ],
)
def test_requests_that_cannot_be(request_, change, message) -> None:
    with pytest.raises(UserError, match=message):
        replace(request_, **change)


def test_a_failed_export_leaves_the_old_file(request_, monkeypatch) -> None:
    request_.out.write_text("old")
    monkeypatch.setattr("fofa.export.onnx_file.TOLERANCES", {"float32": 0.0, "float16": 0.0})
    with pytest.raises(UserError, match="nothing was written"):
        deliver(request_)
    assert request_.out.read_text() == "old"
    assert [path.name for path in request_.out.parent.iterdir()] == ["n.onnx"]
