"""Int8 graphs: what is 8-bit in them, how numbers become 8-bit ones, and that runtimes run them."""

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from fofa.errors import UserError
from fofa.runtime.graph import build_model, random_values, value_types
from fofa.runtime.int8 import ActivationRange, Int8Scheme, parse_float_parts
from fofa.runtime.int8_weights import quantise_weight
from fofa.space import NetworkConfig, architecture_blocks, parse_architecture

BLOCKS = architecture_blocks(
    parse_architecture("22222@32"), NetworkConfig(width_mult=0.25, num_classes=7)
)
numbers = st.floats(-100, 100, width=32)


def makers(model):
    """The node that makes each value."""
    return {name: node for node in model.graph.node for name in node.output}


def layers(model):
    return [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]


def is_8_bit(node, made):
    """Whether a layer takes 8-bit values and weights."""
    return all(name in made and made[name].op_type == "DequantizeLinear" for name in node.input[:2])


def run(model, values):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"images": values})
    return found


@given(low=numbers, high=numbers)
def test_zero_is_a_step_of_every_range_and_its_ends_are_held(low, high):
    found = ActivationRange(min(low, high), max(low, high))
    assert 0 <= found.zero_point <= 255
    lowest = -found.zero_point * float(found.scale)
    highest = (255 - found.zero_point) * float(found.scale)
    slack = float(found.scale) * 0.51
    assert lowest <= min(low, high, 0) + slack
    assert highest >= max(low, high, 0) - slack


@pytest.mark.parametrize("scales", ["channel", "tensor"])
def test_weights_are_within_half_a_step_and_biases_in_units_of_the_sums(scales):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((5, 3, 3, 3)).astype(np.float32) * np.array(
        [0.01, 0.1, 1, 10, 0]
    ).reshape(-1, 1, 1, 1).astype(np.float32)
    bias = rng.standard_normal(5).astype(np.float32)
    found = quantise_weight(weight, bias, np.float32(0.02), scales)
    step = np.broadcast_to(np.reshape(found.scale, (-1, 1, 1, 1)), weight.shape)
    assert found.weight.dtype == np.int8
    assert np.all(np.abs(found.values - weight) <= 0.51 * step)
    assert found.scale.shape == ((5,) if scales == "channel" else ())
    sums = found.bias * 0.02 * np.broadcast_to(found.scale, (5,))
    assert sums == pytest.approx(bias, abs=1e-2, rel=1e-5)


def test_every_layer_takes_8_bit_values_and_weights():
    model = build_model(BLOCKS, 1, "int8")
    made = makers(model)
    assert all(is_8_bit(node, made) for node in layers(model))
    assert len(layers(model)) == len(layers(build_model(BLOCKS, 1)))


@pytest.mark.parametrize("part", ["first", "last", "squeeze", "h_swish"])
def test_parts_that_are_left_in_float_are_float_and_the_others_are_not(part):
    model = build_model(BLOCKS, 1, "int8", scheme=Int8Scheme(float_parts=(part,)))
    made = makers(model)
    kept = [node for node in layers(model) if not is_8_bit(node, made)]
    assert 0 < len(kept) < len(layers(model))
    if part == "first":
        assert kept == layers(model)[:1]
    if part == "last":
        assert kept == layers(model)[-1:]


@pytest.mark.parametrize(("first", "stop"), [(0, None), (0, 1), (2, 3), (2, 6)])
def test_the_runtime_runs_networks_and_their_parts(first, stop):
    blocks = BLOCKS[first:stop]
    taken, given_back = value_types(blocks, "int8")
    values = random_values(blocks, 2, "int8")
    assert values.dtype == taken
    found = run(build_model(blocks, 2, "int8"), values)
    assert found.dtype == given_back
    assert np.isfinite(found.astype(np.float64)).all()


def test_what_a_block_gives_its_neighbour_takes():
    """Two parts in a row compute what the whole does, bit for bit."""
    rng = np.random.default_rng(1)
    weights = {
        weight.name: rng.standard_normal(tuple(weight.dims)).astype(np.float32) * 0.1
        for weight in build_model(BLOCKS[2:4], 1).graph.initializer
    }
    parts = [
        {name[2:]: values for name, values in weights.items() if name[0] == str(number)}
        for number in (0, 1)
    ]
    values = random_values(BLOCKS[2:4], 1, "int8")
    whole = run(build_model(BLOCKS[2:4], dtype="int8", batch_size=1, weights=weights), values)
    for block, part in zip(BLOCKS[2:4], parts, strict=True):
        named = {f"0.{name}": array for name, array in part.items()}
        values = run(build_model([block], dtype="int8", batch_size=1, weights=named), values)
    # The range between the two is the second's input in one and the first's output in the other.
    assert np.mean(np.abs(whole.astype(int) - values.astype(int)) <= 1) > 0.9


def test_ranges_must_be_those_of_the_graphs_points():
    with pytest.raises(ValueError, match=r"the range of .* is not given"):
        build_model(BLOCKS, 1, "int8", ranges={"elsewhere": ActivationRange(0, 1)})


def test_weights_are_stored_in_8_bits():
    model = build_model(BLOCKS, 1, "int8")
    size = {
        kind: sum(
            numpy_helper.to_array(w).nbytes for w in build_model(BLOCKS, 1, kind).graph.initializer
        )
        for kind in ("fp32", "int8")
    }
    assert size["int8"] < 0.4 * size["fp32"]
    assert any(weight.data_type == 3 for weight in model.graph.initializer)


def test_words_for_parts_and_schemes():
    assert parse_float_parts("none") == ()
    assert parse_float_parts("squeeze+first") == ("squeeze", "first")
    assert Int8Scheme(float_parts=("squeeze", "first")).parts_text == "first+squeeze"
    with pytest.raises(UserError, match="int8 float parts 'head': expected none, or some of"):
        parse_float_parts("head")
    with pytest.raises(UserError, match="expected minmax or percentile"):
        Int8Scheme(ranges="entropy")
    with pytest.raises(UserError, match="percentile 20: expected above 50"):
        Int8Scheme(percentile=20)
