"""Through the prefix tree, every subnet is in int8 what it is by itself."""

import pytest
import torch

from fofa.int8 import tree as module
from fofa.int8.network import find_ranges, simulate
from fofa.int8.tree import SimulatedTree
from fofa.recalibration import Moments, observe_batch
from fofa.runtime.int8 import Int8Scheme
from fofa.space import parse_subnet
from fofa.supernet.config import SupernetConfig
from fofa.supernet.weights import fresh_supernet

SUBNETS = [parse_subnet(name) for name in ("22222", "22342", "43224")]
SCHEMES = (Int8Scheme(), Int8Scheme(ranges="percentile", percentile=99, float_parts=("squeeze",)))


def images(number: int, seed: int) -> torch.Tensor:
    return torch.randn(number, 3, 33, 33, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def supernet():
    return fresh_supernet(SupernetConfig(width_mult=0.25, num_classes=5), seed=3).eval()


@pytest.fixture(scope="module")
def statistics(supernet):
    moments = Moments.zeros(supernet, SUBNETS)
    observe_batch(supernet, moments, images(8, 0))
    return moments.statistics(torch.float32)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.text)
@pytest.mark.parametrize("kept_bytes", [0, 2**30])
def test_each_subnet_is_what_it_is_alone(supernet, statistics, scheme, kept_bytes, monkeypatch):
    monkeypatch.setattr(module, "KEPT_BYTES", kept_bytes)
    shown = [images(5, 1), images(3, 2)]
    tree = SimulatedTree.calibrated(supernet, statistics, 33, scheme, shown, 8)
    for seed in (3, 4):  # the second time with weights that are kept, if they are
        tested = images(6, seed)
        together = dict(tree.logits(tested))
        assert together.keys() == {0, 1, 2}
        for leaf, subnet in enumerate(SUBNETS):
            network = supernet.extract(subnet).eval()
            statistics.write_to(network, leaf)
            batches = [(batch, torch.zeros(len(batch))) for batch in shown]
            ranges = find_ranges(network, 33, batches, 8, scheme)
            alone = simulate(network, 33, scheme, ranges)(tested)
            torch.testing.assert_close(together[leaf], alone, rtol=0, atol=1e-5)
            [(number, single)] = tree.logits(tested, leaf)
            assert number == leaf
            torch.testing.assert_close(single, together[leaf], rtol=0, atol=1e-5)
        floats = dict(statistics.logits(supernet, tested))
        assert all((together[leaf] - floats[leaf]).abs().max() > 1e-3 for leaf in floats)
