"""MNN's files, read and run by MNN itself."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from fofa.errors import UserError
from fofa.export.exporter import ExportRequest, export_network
from fofa.export.onnx_file import noise_images

MNN = pytest.importorskip("MNN")


@pytest.fixture
def request_(run, architecture, shapes, tmp_path) -> ExportRequest:
    return ExportRequest(
        run=run,
        architecture=architecture,
        out=tmp_path / "n.mnn",
        format="mnn",
        data=shapes,
        calibration_images=64,
        batch_size=32,
        test_images=96,
    )


@pytest.mark.parametrize("batch_size", [None, 4])
def test_the_file_is_the_network_and_says_what_it_is(request_, network, shapes, batch_size) -> None:
    result = export_network(replace(request_, fixed_batch=batch_size))
    assert [path.name for path in request_.out.parent.iterdir()] == ["n.mnn"]
    content = request_.out.read_bytes()
    start = content.index(b'{"name": "')
    described, _ = json.JSONDecoder().raw_decode(content[start:].decode("latin-1"))
    assert (described["architecture"], described["dtype"]) == ("23432@32", "fp32")
    assert (described["top1_runtime"], described["top1_test_images"]) == ("mnn", "96")
    assert float(described["top1"]) == pytest.approx(result.accuracy.top1)

    module = MNN.nn.load_module_from_file(str(request_.out), ["images"], ["logits"])

    def logits(images: np.ndarray) -> np.ndarray:
        given = MNN.expr.const(images, images.shape, MNN.expr.NCHW, MNN.expr.float)
        return np.array(module.forward(given).read())

    batches = shapes.test_batches(32, batch_size or 32, 96)
    right = [logits(x.numpy()).argmax(1) == y.numpy() for x, y in batches]
    assert result.accuracy.top1 == pytest.approx(100 * float(np.mean(np.concatenate(right))))
    images = noise_images(32, 4)
    with torch.inference_mode():
        expected = network(images).numpy()
    difference = np.abs(logits(images.numpy()) - expected).max()
    assert difference <= 1e-4 * max(1.0, np.abs(expected).max())
    assert result.max_difference <= 1e-4 * max(1.0, np.abs(expected).max())
    assert result.reference_top1 is None


def test_a_network_that_differs_is_not_written(request_, monkeypatch) -> None:
    request_.out.write_text("old")
    monkeypatch.setattr("fofa.export.exporter.check_outputs", lambda *_: 0.0)
    monkeypatch.setattr("fofa.export.onnx_file.TOLERANCES", {"fp32": 0.0})
    with pytest.raises(UserError, match="nothing was written"):
        export_network(replace(request_, test_images=0))
    assert request_.out.read_text() == "old"


@pytest.mark.parametrize("dtype", ["fp16", "int8"])
def test_a_type_that_the_plugin_does_not_time_is_refused(request_, dtype) -> None:
    with pytest.raises(UserError, match="MNN files are exported in fp32"):
        replace(request_, dtype=dtype)
