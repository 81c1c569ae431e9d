"""What eager and fused runtimes launch for the same operators."""

import pytest

from fofa.space import NetworkConfig, SearchSpace, block_macs
from profilers.estimates.kernels import Kernel, lower
from profilers.estimates.networks import block_operators
from profilers.estimates.operators import Layers, Operator, OperatorGraph


def layers(channels=8, size=4) -> Layers:
    return Layers(channels, size)


@pytest.mark.parametrize("width_mult", [0.5, 1.0, 1.2])
@pytest.mark.parametrize("runtime", ["eager", "fused"])
def test_kernels_do_the_work_of_their_block(width_mult, runtime):
    config = NetworkConfig(width_mult=width_mult)
    for block in SearchSpace(kind="elastic").unique_blocks(192, config):
        kernels = lower(block_operators(block), runtime)
        assert sum(kernel.macs for kernel in kernels) == block_macs(block)
        assert all(kernel.moved > 0 for kernel in kernels)


def test_a_convolution_with_norm_and_activation_is_three_kernels_or_one():
    net = layers()
    net.conv(16)
    graph = net.finish()
    convolution, norm, activation = lower(graph, "eager")
    assert (convolution.unit, norm.unit, activation.unit) == ("dense", "pass", "pass")
    assert norm.moved == activation.moved == 2 * 16 * 16
    (fused,) = lower(graph, "fused")
    assert fused.moved == convolution.moved == 8 * 16 + 16 * 16
    assert fused.weights == 8 * 16


def test_a_residual_is_read_by_the_kernel_that_adds_it():
    net = layers()
    before = net.value
    net.conv(8)
    net.conv(8, 3, act=False)
    net.pointwise(before)
    _, second = lower(net.finish(), "fused")
    assert second.moved == 3 * 8 * 16


def test_squeeze_excite_cannot_scale_before_it_has_pooled():
    net = layers()
    net.conv(8, 3, groups=8)
    net.squeeze_excite(2)
    assert len(lower(net.finish(), "fused")) == 5


def test_an_activation_in_two_operators_is_one_kernel():
    graph = OperatorGraph(sizes={"x": 10, "s": 10, "y": 10}, results={"y"})
    graph.operators = [
        Operator(name="s", kind="pointwise", inputs=("x",), output="s"),
        Operator(name="y", kind="pointwise", inputs=("x", "s"), output="y"),
    ]
    assert lower(graph, "eager") == lower(graph, "fused") == [Kernel(unit="pass", moved=20)]


def test_attention_is_one_kernel():
    graph = OperatorGraph(sizes={"q": 8, "k": 8, "v": 8, "s": 16, "p": 16, "o": 8}, results={"o"})
    graph.operators = [
        Operator(name="s", kind="dense", inputs=("q", "k"), output="s", macs=32, depth=2),
        Operator(name="p", kind="pass", inputs=("s",), output="p", softmax=True),
        Operator(name="o", kind="dense", inputs=("p", "v"), output="o", macs=32, depth=4),
    ]
    expected = Kernel(unit="dense", macs=64, winograd_macs=64, moved=32, depth=4)
    assert lower(graph, "eager") == lower(graph, "fused") == [expected]


def test_a_view_costs_nothing_and_a_part_of_a_value_is_read_in_part():
    graph = OperatorGraph(sizes={"x": 10, "half": 5, "y": 5}, results={"y"})
    graph.operators = [
        Operator(name="half", kind="view", inputs=("x",), output="half"),
        Operator(name="y", kind="pass", inputs=("half",), output="y"),
    ]
    assert [kernel.moved for kernel in lower(graph, "eager")] == [10]
