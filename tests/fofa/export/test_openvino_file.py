"""OpenVINO's files, read and run by OpenVINO."""

import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from fofa.errors import UserError
from fofa.export.exporter import ExportRequest, export_network
from fofa.export.onnx_file import noise_images
from fofa.runtime.openvino import openvino_core

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")


@pytest.fixture
def request_(run, architecture, shapes, tmp_path) -> ExportRequest:
    return ExportRequest(
        run=run,
        architecture=architecture,
        out=tmp_path / "n.xml",
        format="openvino",
        data=shapes,
        calibration_images=64,
        batch_size=32,
        quantisation_images=40,
        test_images=96,
    )


@pytest.mark.parametrize(("dtype", "batch_size"), [("fp32", None), ("fp32", 4), ("int8", None)])
def test_the_files_are_the_network_and_say_what_it_is(
    request_, network, shapes, dtype, batch_size
) -> None:
    result = export_network(replace(request_, dtype=dtype, fixed_batch=batch_size))
    assert sorted(path.name for path in request_.out.parent.iterdir()) == ["n.bin", "n.xml"]
    core = openvino_core()
    model = core.read_model(request_.out)
    described = json.loads(model.get_rt_info(["fofa"]).value)
    assert (described["architecture"], described["dtype"]) == ("23432@32", dtype)
    assert (described["top1_runtime"], described["top1_test_images"]) == ("openvino", "96")
    assert float(described["top1"]) == pytest.approx(result.accuracy.top1)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    batches = shapes.test_batches(32, batch_size or 32, 96)  # as the export runs them
    right = [compiled(x.numpy())[0].argmax(1) == y.numpy() for x, y in batches]
    assert result.accuracy.top1 == pytest.approx(100 * float(np.mean(np.concatenate(right))))
    if dtype == "fp32":  # int8 is judged by its accuracy
        images = noise_images(32, 4)
        with torch.inference_mode():
            expected = network(images).numpy()
        difference = np.abs(compiled(images.numpy())[0] - expected).max()
        assert difference <= 1e-3 * max(1.0, np.abs(expected).max())
    assert (result.max_difference is None) == (dtype == "int8")
    assert (result.reference_top1 is None) == (dtype == "fp32")


def test_a_network_that_differs_is_not_written(request_, monkeypatch) -> None:
    request_.out.write_text("old")
    monkeypatch.setattr("fofa.export.exporter.check_outputs", lambda *_: 0.0)
    monkeypatch.setattr("fofa.export.onnx_file.TOLERANCES", {"fp32": 0.0})
    with pytest.raises(UserError, match="nothing was written"):
        export_network(replace(request_, test_images=0))
    assert [path.name for path in request_.out.parent.iterdir()] == ["n.xml"]
    assert request_.out.read_text() == "old"


def test_a_type_that_the_plugin_does_not_time_is_refused(request_) -> None:
    with pytest.raises(UserError, match="exported in fp32 or int8"):
        replace(request_, dtype="fp16")
