from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from rounding import rounding_bound

from fofa.errors import UserError
from fofa.export.onnx_file import (
    check_outputs,
    network_model,
    noise_images,
    write_onnx,
)
from fofa.runtime.session import session_logits


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_onnxruntime_computes_what_pytorch_does(network, tmp_path, batch) -> None:
    write_onnx(network, 32, tmp_path / "n.onnx", {"architecture": "23432@32"})
    images = noise_images(32, batch)
    with torch.inference_mode():
        expected = network(images)
    logits = session_logits(tmp_path / "n.onnx")(images)
    assert np.abs(logits - expected.numpy()).max() <= rounding_bound(network, expected)
    props = {p.key: p.value for p in onnx.load(tmp_path / "n.onnx").metadata_props}
    assert props == {"architecture": "23432@32"}


def test_a_network_that_differs_is_not_written(network) -> None:
    model = network_model(network, 32, {})
    weight = model.graph.initializer[0]
    values = onnx.numpy_helper.to_array(weight) + np.float32(0.1)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    with pytest.raises(UserError, match="nothing was written"):
        check_outputs(model, network, noise_images(32), "fp32")


def test_nan_does_not_pass_as_equal(network) -> None:
    model = network_model(network, 32, {})
    weight = model.graph.initializer[-1]
    values = np.full_like(onnx.numpy_helper.to_array(weight), np.nan)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    with pytest.raises(UserError, match="differs"):
        check_outputs(model, network, noise_images(32), "fp32")


def test_noise_is_the_same_every_time() -> None:
    assert torch.equal(noise_images(24), noise_images(24))
    assert noise_images(24, 2).shape == (2, 3, 24, 24)


def test_operators_are_those_that_tables_are_measured_with(network) -> None:
    model = network_model(network, 32, {"name": "a network"})
    kinds = Counter(node.op_type for node in model.graph.node)
    assert set(kinds) == {
        "Add",
        "Conv",
        "Flatten",
        "Gemm",
        "GlobalAveragePool",
        "HardSigmoid",
        "HardSwish",
        "Mul",
        "Relu",
    }
    assert kinds["Gemm"] == 1
    assert model.graph.name == "a network"


def test_half_precision_inside_and_outside(network) -> None:
    graph = network_model(network, 32, {}, dtype="fp16").graph
    half = onnx.TensorProto.FLOAT16
    assert {weight.data_type for weight in graph.initializer} == {half}
    assert graph.input[0].type.tensor_type.elem_type == half
    assert graph.output[0].type.tensor_type.elem_type == half


@pytest.mark.parametrize("images", [1, 3, 7])
def test_a_fixed_batch_is_filled_up(network, images) -> None:
    """A model that takes three images at a time gives as many logits as there are images."""
    given = noise_images(32, images)
    free, fixed = (network_model(network, 32, {}, batch_size=size) for size in (None, 3))
    expected, found = session_logits(free)(given), session_logits(fixed)(given)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_logits_of_every_type_are_fp32(network) -> None:
    model = network_model(network, 32, {}, dtype="fp16")
    assert session_logits(model)(noise_images(32)).dtype == np.float32
