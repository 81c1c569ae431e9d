"""Estimates: kernels that add up, the model's two roofs, the committed tables, wrong options."""

from pathlib import Path

import numpy as np
import pytest

from fofa.errors import UserError
from fofa.latency import Lut, required_keys
from fofa.space import NetworkConfig, SearchSpace, block_macs
from profilers.hardware.devices import find_device
from profilers.hardware.kernels import Kernel, block_kernels
from profilers.hardware.peak_rates import find_hardware, known_hardware
from profilers.plugin import PluginOptions
from profilers.plugins.roofline import EFFICIENCY, PLUGIN, Roofline

LUTS = Path(__file__).resolve().parents[3] / "luts"
CONFIG = NetworkConfig()
SMALL = SearchSpace(resolutions=(64,))


def estimate(device, *, space=SMALL, **options):
    return PLUGIN.table(space, CONFIG, PluginOptions(**options), device)


def compound_ms(lut):
    return lut.latencies_ms(SMALL.architectures())


@pytest.mark.parametrize("width_mult", [0.5, 1.0, 1.2])
def test_kernels_do_the_work_of_their_block(width_mult):
    config = NetworkConfig(width_mult=width_mult)
    for block in SearchSpace(kind="elastic").unique_blocks(192, config):
        kernels = block_kernels(block)
        assert sum(kernel.macs for kernel in kernels) == block_macs(block)
        assert all(kernel.activations > 0 for kernel in kernels)


def test_a_kernel_takes_the_longer_of_computing_and_moving_plus_its_launch():
    p100 = find_hardware("p100")
    model = Roofline(hardware=p100, dtype="fp32", batch_size=10, threads=1)
    efficiency = EFFICIENCY["gpu"]
    launch_ms = efficiency.launch_us / 1000
    heavy = Kernel(name="k", unit="matrix", macs=10**9, activations=1, weights=1)
    compute_ms = 2e10 / (10.6e12 * efficiency.matrix) * 1000
    assert model.kernel_ms(heavy) == pytest.approx(compute_ms + launch_ms)
    wide = Kernel(name="k", unit="vector", macs=1, activations=10**8, weights=50)
    memory_ms = (10**9 + 50) * 4 / (732e9 * efficiency.memory) * 1000
    assert model.kernel_ms(wide) == pytest.approx(memory_ms + launch_ms)


@pytest.mark.parametrize("hardware", known_hardware(), ids=lambda hardware: hardware.name)
def test_every_hardware_gives_a_table_of_both_spaces(hardware):
    for kind in ("compound", "elastic"):
        space = SearchSpace(kind=kind, resolutions=(128, 224))
        lut = estimate(hardware.name, space=space)
        assert lut.method == "estimated"
        assert lut.device.matches is None
        assert "nothing was run" in lut.source
        assert lut.protocol.model_dump()["memory_gb_per_s"] == hardware.memory_gb_per_s
        for key in required_keys(space):
            assert 0 < lut.block_ms(128, key) < lut.block_ms(224, key)


@pytest.mark.parametrize("hardware", known_hardware(), ids=lambda hardware: hardware.name)
def test_published_figures_are_complete_and_in_proportion(hardware):
    assert hardware.matrix_tflops.keys() == hardware.vector_tflops.keys()
    for dtype, rate in hardware.matrix_tflops.items():
        assert rate >= hardware.vector_tflops[dtype]
    assert hardware.source


def test_faster_hardware_smaller_numbers_and_more_threads_are_not_slower():
    latency = {
        name: compound_ms(estimate(name, dtype="fp16")).max()
        for name in ("h200", "h100", "a100", "p100")
    }
    assert latency["h200"] <= latency["h100"] < latency["a100"] < latency["p100"]
    half, single = estimate("a100", dtype="fp16"), estimate("a100", dtype="fp32")
    assert compound_ms(half).max() < compound_ms(single).max()
    one, many = (estimate("epyc7763", batch_size=8, threads=threads) for threads in (1, 16))
    assert np.all(compound_ms(many) < compound_ms(one))


@pytest.mark.parametrize(("name", "dtype"), [("a100", "fp16"), ("pascal", "fp32")])
def test_committed_table_is_what_the_named_device_estimates(name, dtype):
    device = find_device(name, plugins=["roofline"], plugin="roofline")
    made = PLUGIN.table(SearchSpace(), CONFIG, device.options(PluginOptions()), name)
    committed = Lut.read(LUTS / f"{name}.json")
    aside = {"created": None, "entries": []}
    assert committed.model_copy(update=aside) == made.model_copy(update=aside)
    for theirs, ours in zip(committed.entries, made.entries, strict=True):
        # Python 3.12 and later add up with less rounding.
        assert ours.latency_ms == pytest.approx(theirs.latency_ms, rel=1e-12)
        assert ours == theirs.model_copy(update={"latency_ms": ours.latency_ms})
    assert (made.protocol.dtype, made.protocol.batch_size) == (dtype, 64)
    assert made.device.requested == name


@pytest.mark.parametrize(
    ("device", "options", "message"),
    [
        ("a100", {"dtype": "int8"}, "no published rate for dtype 'int8', only fp32, fp16"),
        ("epyc7763", {"dtype": "fp16"}, "only fp32"),
        ("epyc7763", {"threads": 65}, "at most 64"),
        ("a100", {"threads": 2}, "at most 1"),
        ("a100", {"batch_size": -1}, "batch size -1"),
        ("a100", {"batch_size": 0}, "batch size 0"),
        ("epyc7763", {"threads": 0}, "0 threads"),
        ("toaster", {}, "no published figures for 'toaster', only for a100"),
        ("a100", {"source": "toaster"}, "'toaster'"),
        ("a100", {"extra": {"l2": "cold"}}, "unknown options l2"),
    ],
)
def test_what_cannot_be_estimated_is_one_line(device, options, message):
    with pytest.raises(UserError, match=message):
        estimate(device, **options)
