"""What PyTorch simulates is what the exported int8 graph computes, and floats are as they were."""

import numpy as np
import pytest
import torch
from families import custom_family

from fofa.export.onnx_file import network_model
from fofa.int8.blocks import Recording, run_block
from fofa.int8.network import find_ranges, folded_blocks, simulate
from fofa.int8.ranges import RangeRecorder
from fofa.runtime.int8 import Int8Scheme
from fofa.runtime.session import session_logits
from fofa.space import FAMILIES, SearchSpace
from fofa.supernet.config import SupernetConfig
from fofa.supernet.weights import fresh_supernet

SCHEMES = (
    Int8Scheme(),
    Int8Scheme(ranges="percentile", percentile=99.9, weights="tensor"),
    Int8Scheme(float_parts=("first", "last", "squeeze")),
    Int8Scheme(float_parts=("h_swish",)),
)


@pytest.fixture(params=[*FAMILIES, "own-net"])
def network(request, tmp_path_factory, one_thread):
    """The largest network of a family, with statistics that are not those of the beginning."""
    if request.param in FAMILIES:
        family = FAMILIES[request.param]
    else:
        family = custom_family(tmp_path_factory.mktemp("family"))
    supernet = fresh_supernet(SupernetConfig(family=family, width_mult=0.25, num_classes=5), seed=3)
    largest = SearchSpace(family=family).largest
    with torch.no_grad():
        supernet.train()(images(8), [largest])
    return supernet.extract(largest).eval()


def images(number: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(number, 3, 33, 33, generator=torch.Generator().manual_seed(seed))


def test_a_recorded_network_computes_what_the_module_does(network):
    recorder, x = RangeRecorder(Int8Scheme(), 4), images(4)
    with torch.inference_mode():
        expected = network(x)
        for index, (block, weights) in enumerate(folded_blocks(network, 33)):
            x = run_block(block, x, Recording(block, weights, Int8Scheme(), recorder, f"{index}."))
    bound = 1e-4 * max(1, float(expected.abs().max()))
    assert (x - expected).abs().max() <= bound
    seen = recorder.ranges()["0.input"]
    assert (seen.low, seen.high) == (float(images(4).min()), float(images(4).max()))


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.text)
def test_the_exported_graph_computes_what_is_simulated(network, scheme):
    """On nearly all images bit for bit, but for the order of sums."""
    shown = [(images(8, 1), torch.zeros(8)), (images(8, 2), torch.zeros(8))]
    ranges = find_ranges(network, 33, shown, 16, scheme)
    found = simulate(network, 33, scheme, ranges)(images(20)).numpy()
    model = network_model(network, 33, {}, dtype="int8", scheme=scheme, ranges=ranges)
    exact = session_logits(model, literally=True)(images(20))
    with torch.inference_mode():
        plain = network(images(20)).numpy()
    scale = np.abs(exact).max()
    same = np.abs(found - exact).max(axis=1) <= 1e-4 * scale
    assert same.mean() >= 0.75
    assert np.abs(found - plain).max() > 1e-3 * scale  # something is rounded
