"""Estimates: whole networks and tables, their interval, the committed tables, wrong options."""

import json
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from fofa.errors import UserError
from fofa.latency import Lut, required_keys
from fofa.runtime.graph import build_model
from fofa.space import Architecture, NetworkConfig, SearchSpace, compound_subnets, network_blocks
from profilers.commands.profile import app
from profilers.hardware.devices import find_device
from profilers.hardware.peak_rates import known_hardware
from profilers.plugin import PluginOptions
from profilers.plugins.roofline import PLUGIN

LUTS = Path(__file__).resolve().parents[3] / "luts"
CONFIG = NetworkConfig()
SMALL = SearchSpace(resolutions=(64,))
SUBNETS = list(compound_subnets())
LISTED = ("rtx3090", "rtx4090", "rtx5090", "l4", "h100", "h200", "jetson-orin", "a100", "epyc7763")


def estimate(device, *, space=SMALL, **options):
    return PLUGIN.table(space, CONFIG, PluginOptions(**options), device)


@pytest.fixture
def network(tmp_path) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(build_model(network_blocks(SUBNETS[121], 64, CONFIG), None), path)
    return path


def network_estimate(network, source, **options):
    return PLUGIN.estimate_network(network, PluginOptions(source=source, **options), "roofline")


@pytest.mark.parametrize("hardware", known_hardware(), ids=lambda hardware: hardware.name)
def test_every_hardware_gives_a_table_of_both_spaces(hardware):
    for kind in ("compound", "elastic"):
        space = SearchSpace(kind=kind, resolutions=(128, 224))
        lut = estimate(hardware.name, space=space)
        assert lut.method == "estimated"
        assert lut.device.matches is None
        assert "nothing was run" in lut.source
        assert lut.protocol.model_dump()["memory_gb_per_s"] == hardware.memory_gb_per_s
        assert all(lut.block_ms(128, key) > 0 for key in required_keys(space))
        assert lut.validation.estimate.low_factor < 1 < lut.validation.estimate.high_factor


@pytest.mark.parametrize("hardware", known_hardware(), ids=lambda hardware: hardware.name)
def test_published_figures_are_complete_and_in_proportion(hardware):
    assert hardware.matrix_tflops.keys() - {"tf32"} == hardware.vector_tflops.keys()
    for dtype, rate in hardware.vector_tflops.items():
        assert hardware.matrix_tflops[dtype] >= rate
    assert hardware.kind == "cpu" or hardware.multiprocessors > 1
    assert hardware.source


@pytest.mark.parametrize("source", LISTED)
def test_a_network_is_estimated_with_an_interval(network, source):
    for runtime in ("eager", "fused"):
        found = network_estimate(network, source, batch_size=4, extra={"runtime": runtime})
        assert 0 < found.low_ms < found.latency_ms < found.high_ms
        assert found.protocol.model_dump()["runtime_class"] == runtime


@pytest.mark.parametrize(("runtime", "batch_size"), [("eager", 1), ("fused", 1), ("eager", 256)])
def test_a_file_and_a_table_agree_about_a_network(network, runtime, batch_size):
    options = {"batch_size": batch_size, "dtype": "fp16", "extra": {"runtime": runtime}}
    table = estimate("rtx4090", **options)
    found = network_estimate(network, "rtx4090", **options)
    architecture = Architecture(SUBNETS[121], 64)
    assert table.latency_ms(architecture) == pytest.approx(found.latency_ms, rel=0.02)


def test_faster_hardware_smaller_numbers_and_more_threads_are_not_slower():
    options = {"dtype": "fp16", "extra": {"runtime": "fused"}, "batch_size": 512}
    latency = {
        name: estimate(name, **options).latency_ms(Architecture(SUBNETS[-1], 64))
        for name in ("h200", "h100", "a100", "p100")
    }
    assert latency["h200"] <= latency["h100"] < latency["a100"] < latency["p100"]
    largest = Architecture(SUBNETS[-1], 64)
    half = estimate("a100", **options)
    single = estimate("a100", **options | {"dtype": "fp32"})
    strict = estimate("a100", **options | {"dtype": "fp32", "extra": {"tf32": "off"}})
    assert half.latency_ms(largest) < single.latency_ms(largest) <= strict.latency_ms(largest)
    one, many = (estimate("epyc7763", batch_size=8, threads=threads) for threads in (1, 16))
    assert many.latency_ms(largest) < one.latency_ms(largest)


def test_small_batches_of_an_eager_runtime_take_the_time_of_the_host(network):
    one, few, many = (network_estimate(network, "a100", batch_size=n) for n in (1, 8, 2048))
    assert few.latency_ms == pytest.approx(one.latency_ms, rel=0.02)
    assert many.latency_ms > 2 * one.latency_ms
    # What nobody knows of a host widens the interval.
    assert one.high_ms / one.low_ms > many.high_ms / many.low_ms
    fused = network_estimate(network, "a100", batch_size=1, extra={"runtime": "fused"})
    assert fused.latency_ms < one.latency_ms


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
    assert made.protocol.model_dump()["runtime_class"] == "eager"
    assert made.device.requested == name


@pytest.mark.parametrize("name", ["a100", "pascal"])
def test_limits_of_the_paper_lie_among_the_networks(name):
    lut = Lut.read(LUTS / f"{name}.json")
    networks = [Architecture(net, size) for size in lut.space.resolutions for net in SUBNETS]
    latency = lut.latencies_ms(networks)
    low, high = {"a100": (8, 10), "pascal": (15, 35)}[name]
    assert latency.min() < low < high < latency.max()


def test_the_sum_of_a_table_is_near_the_model_s_own_latency():
    lut = Lut.read(LUTS / "pascal.json")
    for resolution in (128, 224):
        for subnet in SUBNETS[::60]:
            blocks = network_blocks(subnet, resolution, CONFIG)
            model = build_model(blocks, 1)
            path_free = _latency_of(model, "p100")
            summed = lut.latency_ms(Architecture(subnet, resolution))
            assert summed == pytest.approx(path_free, rel=0.06)


def _latency_of(model: onnx.ModelProto, source: str) -> float:
    from profilers.estimates.calibration import calibration
    from profilers.estimates.estimate import Estimator
    from profilers.estimates.model import Machine
    from profilers.estimates.onnx_operators import network_operators
    from profilers.hardware.peak_rates import find_hardware

    machine = Machine(hardware=find_hardware(source), dtype="fp32", runtime="eager")
    estimator = Estimator(machine=machine, batch_size=64, calibration=calibration())
    return estimator.load(network_operators(model, "net")).latency_ms


def test_the_command_prints_the_interval(network):
    arguments = ["--network", str(network), "--plugin", "roofline", "--source", "rtx5090"]
    options = ["--batch-size", "32", "--dtype", "fp16", "--option", "runtime=fused"]
    done = CliRunner().invoke(app, [*arguments, *options, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["method"] == "estimated"
    assert found["low_ms"] < found["latency_ms"] < found["high_ms"]
    assert found["protocol"]["batch_size"] == 32
    shown = CliRunner().invoke(app, [*arguments, *options])
    assert "in 90%" in shown.stdout


def test_a_search_margin_is_the_upper_end_of_the_interval():
    lut = estimate("a100", dtype="fp16")
    assert lut.bound(0.95).factor == pytest.approx(lut.validation.estimate.high_factor)
    assert lut.bound(0.05).factor == pytest.approx(lut.validation.estimate.low_factor, rel=1e-3)


@pytest.mark.parametrize(
    ("device", "options", "message"),
    [
        ("a100", {"dtype": "int8"}, "no published rate for dtype 'int8', only fp32, tf32, fp16"),
        ("epyc7763", {"dtype": "fp16"}, "only fp32"),
        ("t4", {"dtype": "tf32"}, "only fp32, fp16"),
        ("epyc7763", {"threads": 65}, "at most 64"),
        ("a100", {"threads": 2}, "at most 1"),
        ("a100", {"batch_size": -1}, "batch size -1"),
        ("a100", {"batch_size": 0}, "batch size 0"),
        ("epyc7763", {"threads": 0}, "0 threads"),
        ("toaster", {}, "no published figures for 'toaster', only for a100"),
        ("a100", {"source": "toaster"}, "'toaster'"),
        ("a100", {"extra": {"l2": "cold"}}, "unknown options l2; known: runtime, tf32"),
        ("a100", {"extra": {"runtime": "quick"}}, "runtime 'quick', expected eager or fused"),
        ("a100", {"extra": {"tf32": "maybe"}}, "tf32 'maybe', expected on or off"),
        ("a100", {"extra": {"resolution": "64"}}, "unknown options resolution"),
    ],
)
def test_what_cannot_be_estimated_is_one_line(device, options, message):
    with pytest.raises(UserError, match=message):
        estimate(device, **options)


def test_a_resolution_that_is_no_number_is_one_line(network):
    with pytest.raises(UserError, match="resolution 'big', expected a number of pixels"):
        network_estimate(network, "a100", extra={"resolution": "big"})
