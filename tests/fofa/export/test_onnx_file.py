import numpy as np
import onnx
import pytest
import torch

from fofa.errors import UserError
from fofa.export.onnx_file import check_outputs, noise_images, session_logits, write_onnx
from fofa.export.onnx_graph import build_model


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_onnxruntime_computes_what_pytorch_does(network, tmp_path, batch) -> None:
    write_onnx(network, 32, tmp_path / "n.onnx", {"architecture": "23432@32"})
    images = noise_images(32, batch)
    with torch.inference_mode():
        expected = network(images).numpy()
    logits = session_logits(tmp_path / "n.onnx")(images)
    assert np.abs(logits - expected).max() <= 1e-4 * max(1, np.abs(expected).max())
    props = {p.key: p.value for p in onnx.load(tmp_path / "n.onnx").metadata_props}
    assert props == {"architecture": "23432@32"}


def test_a_network_that_differs_is_not_written(network) -> None:
    model = build_model(network, 32, {})
    weight = model.graph.initializer[0]
    values = onnx.numpy_helper.to_array(weight) + np.float32(0.1)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    with pytest.raises(UserError, match="nothing was written"):
        check_outputs(model, network, noise_images(32), "float32")


def test_nan_does_not_pass_as_equal(network) -> None:
    model = build_model(network, 32, {})
    weight = model.graph.initializer[-1]
    values = np.full_like(onnx.numpy_helper.to_array(weight), np.nan)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    with pytest.raises(UserError, match="differs"):
        check_outputs(model, network, noise_images(32), "float32")


def test_noise_is_the_same_every_time() -> None:
    assert torch.equal(noise_images(24), noise_images(24))
    assert noise_images(24, 2).shape == (2, 3, 24, 24)
