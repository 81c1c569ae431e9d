"""Any ONNX file as operators: batch and free sizes, attention, unknown operators, wrong files."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from fofa.errors import UserError
from fofa.runtime.graph import build_model
from fofa.space import NetworkConfig, macs, network_blocks, parse_architecture, parse_subnet
from profilers.estimates.kernels import lower
from profilers.estimates.networks import block_operators
from profilers.estimates.onnx_operators import network_operators, read_network

BLOCKS = network_blocks(parse_subnet("22222"), 64, NetworkConfig())


def model_of(nodes, inputs, weights=(), *, opset=17, domains=()) -> onnx.ModelProto:
    outputs = [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        outputs,
        [numpy_helper.from_array(np.zeros(s, np.float32), n) for n, s in dict(weights).items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(one, 1) for one in domains)]
    return helper.make_model(graph, opset_imports=opsets)


@pytest.mark.parametrize("batch_size", [None, 1, 7])
def test_counts_are_of_one_image_whatever_batch_the_file_is_for(batch_size):
    graph = network_operators(build_model(BLOCKS, batch_size), "net")
    assert graph.macs == macs(parse_architecture("22222@64"))
    for runtime in ("eager", "fused"):
        kernels = lower(graph, runtime)
        blocks = [kernel for block in BLOCKS for kernel in lower(block_operators(block), runtime)]
        assert len(kernels) == len(blocks)
        assert sum(one.moved for one in kernels) == pytest.approx(
            sum(one.moved for one in blocks), rel=0.01
        )


def test_reshapes_that_are_computed_from_the_batch_size_are_followed(tmp_path):
    class Attention(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out = torch.nn.Linear(32, 96), torch.nn.Linear(32, 32)

        def forward(self, x):
            batch, tokens, width = x.shape
            q, k, v = self.qkv(x).reshape(batch, tokens, 3, 4, 8).permute(2, 0, 3, 1, 4)
            mixed = torch.softmax(q @ k.transpose(-1, -2) * 0.3, -1) @ v
            return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))

    path = tmp_path / "attention.onnx"
    torch.onnx.export(
        Attention().eval(),
        (torch.zeros(2, 10, 32),),
        path,
        dynamo=False,
        input_names=["x"],
        dynamic_axes={"x": {0: "batch"}},
    )
    graph = read_network(path)
    assert graph.macs == 10 * 32 * 96 + 2 * 10 * 10 * 32 + 10 * 32 * 32
    dense = [kernel for kernel in lower(graph, "fused") if kernel.macs]
    assert [kernel.macs for kernel in dense] == [10 * 32 * 96, 2 * 10 * 10 * 32, 10 * 32 * 32]
    # One copy brings the heads together; queries, keys and values are only looked at.
    assert len(lower(graph, "eager")) == 4


def test_grouped_strided_and_transposed_convolutions_are_counted():
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["u"], group=2, strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["u", "b"], ["v"], strides=[2, 2]),
        helper.make_node("Conv", ["v", "c"], ["w"], group=6),
    ]
    weights = {"a": (8, 2, 3, 3), "b": (8, 6, 2, 2), "c": (6, 1, 1, 1)}
    graph = network_operators(model_of(nodes, {"x": (1, 4, 8, 8)}, weights.items()), "net")
    first, second, third = graph.operators
    assert (first.macs, first.kind, first.depth) == (8 * 16 * 18, "dense", 18)
    assert (second.macs, second.kind) == (8 * 16 * 6 * 4, "dense")
    assert (third.macs, third.kind) == (6 * 64, "depthwise")


def test_what_is_not_known_moves_its_values():
    nodes = [
        helper.make_node("Mystery", ["x"], ["y"], domain="elsewhere"),
        helper.make_node("Relu", ["y"], ["z"]),
    ]
    model = model_of(nodes, {"x": (1, 10)}, domains=("elsewhere",))
    model.graph.value_info.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 10)))
    with pytest.raises(UserError, match="shape of 'y' cannot be inferred"):
        network_operators(model, "net")
    known = model_of([helper.make_node("CumSum", ["x", "axis"], ["y"])], {"x": (1, 10)})
    known.graph.initializer.append(numpy_helper.from_array(np.array(1), "axis"))
    (kernel,) = lower(network_operators(known, "net"), "eager")
    assert (kernel.unit, kernel.moved) == ("pass", 20)


def test_free_image_sizes_are_asked_for(tmp_path):
    model = model_of(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        {"x": ("n", 3, "h", "w_")},
        {"w": (4, 3, 1, 1)}.items(),
    )
    path = tmp_path / "free.onnx"
    onnx.save(model, path)
    with pytest.raises(UserError, match=r"free size.*--option resolution=SIDE"):
        read_network(path)
    assert read_network(path, 16).macs == 3 * 4 * 256


def test_a_wrong_file_is_one_line(tmp_path):
    path = tmp_path / "wrong.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(UserError, match="no readable ONNX file"):
        read_network(path)
    with pytest.raises(UserError, match="no readable ONNX file"):
        read_network(tmp_path / "missing.onnx")
