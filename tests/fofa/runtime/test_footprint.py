"""Files and activations of deployed networks, against the graphs themselves."""

import numpy as np
import onnx
import pytest
from families import custom_family

from fofa.runtime.footprint import VALUE_BYTES, file_bytes, peak_bytes, peak_values
from fofa.runtime.graph import BUILT_TYPES, build_model
from fofa.runtime.int8 import Int8Scheme
from fofa.space import (
    FAMILIES,
    NetworkConfig,
    SearchSpace,
    compound_subnets,
    network_blocks,
    parse_subnet,
)

OVERWRITE = {"Relu", "Clip", "HardSwish", "HardSigmoid", "Mul", "Add", "Flatten"}


@pytest.fixture(params=[*FAMILIES, "own-net"])
def family(request, tmp_path_factory):
    if request.param in FAMILIES:
        return FAMILIES[request.param]
    return custom_family(tmp_path_factory.mktemp("family"))


def most_alive(model: onnx.ModelProto) -> int:
    """Values that are alive at once, at most, by walking the graph: the definition."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    sizes = {
        value.name: int(np.prod([d.dim_value for d in value.type.tensor_type.shape.dim]))
        for value in (*inferred.input, *inferred.output, *inferred.value_info)
    }
    nodes = [node for node in inferred.node if node.op_type != "Constant"]
    constants = {
        name for node in inferred.node if node.op_type == "Constant" for name in node.output
    }
    weights = {weight.name for weight in inferred.initializer} | constants
    last = {name: place for place, node in enumerate(nodes) for name in node.input}
    last[inferred.output[0].name] = len(nodes)
    alive, most = {inferred.input[0].name}, 0
    for place, node in enumerate(nodes):
        [made] = node.output
        read = [name for name in node.input if name not in weights]
        over = [n for n in read if last[n] == place and sizes[n] == sizes[made]]
        during = alive - {over[0]} if node.op_type in OVERWRITE and over else alive
        most = max(most, sum(sizes[name] for name in {*during, made}))
        alive = {name for name in {*alive, made} if last[name] > place}
    return most


@pytest.mark.parametrize("side", [32, 45, 96])
@pytest.mark.parametrize("width", [0.25, 1.0])
def test_the_peak_is_that_of_walking_the_graph(family, side, width):
    config = NetworkConfig(family=family, width_mult=width, num_classes=1000)
    space = SearchSpace(family=family, width_mult=width)
    for subnet in (space.smallest, space.largest):
        blocks = network_blocks(subnet, side, config)
        expected = most_alive(build_model(blocks, 1))
        assert max(peak_values(block) for block in blocks) == expected
        for block in blocks:  # each by itself, so that the largest does not hide the others
            assert peak_values(block) == most_alive(build_model([block], 1))
        assert peak_bytes(blocks[0], "fp16") == VALUE_BYTES["fp16"] * peak_values(blocks[0])


@pytest.mark.parametrize("dtype", BUILT_TYPES)
@pytest.mark.parametrize("width", [0.25, 1.0])
def test_a_file_takes_what_its_blocks_take(family, dtype, width):
    config = NetworkConfig(family=family, width_mult=width, num_classes=100)
    space = SearchSpace(family=family, width_mult=width)
    for subnet in (space.smallest, space.largest):
        blocks = network_blocks(subnet, 64, config)
        actual = len(build_model(blocks, None, dtype).SerializeToString())
        assert sum(file_bytes(block, dtype) for block in blocks) == pytest.approx(actual, rel=0.01)


def test_a_scheme_of_int8_counts():
    blocks = network_blocks(parse_subnet("22222"), 64, NetworkConfig(width_mult=0.25))
    sizes = {}
    for scheme in (Int8Scheme(), Int8Scheme(weights="tensor"), Int8Scheme(float_parts=("last",))):
        sizes[scheme] = sum(file_bytes(block, "int8", scheme) for block in blocks)
        actual = len(build_model(blocks, None, "int8", scheme=scheme).SerializeToString())
        assert sizes[scheme] == pytest.approx(actual, rel=0.01)
    assert len(set(sizes.values())) == 3


def test_larger_networks_take_more():
    config = NetworkConfig(width_mult=0.25)
    peaks = [
        [max(map(peak_values, network_blocks(subnet, side, config))) for side in (32, 64, 128)]
        for subnet in list(compound_subnets())[::60]
    ]
    assert all(row == sorted(set(row)) for row in peaks)
