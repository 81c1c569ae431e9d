"""Making tables, on a simulated device and with the real runtime."""

import dataclasses

import numpy as np
import pytest

from fofa.errors import UserError
from fofa.latency import Lut, required_keys
from fofa.progress import Progress
from fofa.space import NetworkConfig, SearchSpace, architecture_blocks
from profilers.hardware.devices import Device, Expectation, find_device
from profilers.hardware.load import Interference
from profilers.measuring.measurement import evaluate
from profilers.measuring.rounds import Instruments
from profilers.measuring.samples import PartialFile, partial_path, read_samples
from profilers.measuring.settings import MeasureSettings
from profilers.measuring.simulation import SimulatedDevice, SimulatedPlugin
from profilers.measuring.workload import plan_workload
from profilers.plugin import PluginOptions
from profilers.plugins.onnxruntime import PLUGIN
from profilers.plugins.roofline import PLUGIN as ROOFLINE
from profilers.registry import installed
from profilers.tables.build import import_table, measure_lut, restrict, resumable_rounds
from profilers.tables.measured import LutRequest

DEVICE = Device(name="sim", plugin="simulated", summary="")
REQUEST = LutRequest(
    device=DEVICE,
    space=SearchSpace(resolutions=(64, 96)),
    config=NetworkConfig(width_mult=0.5),
    settings=MeasureSettings(min_rounds=6, max_rounds=6),
)


def simulate(tmp_path, device=None, request=REQUEST, **options):
    plugin = SimulatedPlugin(device)
    return measure_lut(request, plugin, tmp_path / "t.json", plugin.instruments(), **options)


def test_the_noise_tells_how_much_two_builds_of_a_network_differ(tmp_path):
    assert simulate(tmp_path, SimulatedDevice()).validation.noise_percent == pytest.approx(0)
    lucky = simulate(tmp_path, SimulatedDevice(build_luck=0.05))
    assert lucky.validation.noise_percent > 1
    assert any("timed twice differs" in reason for reason in lucky.stability.reasons)


@pytest.mark.parametrize("kind", ["compound", "elastic"])
def test_a_table_predicts_every_network_of_the_device(tmp_path, kind):
    device = SimulatedDevice(scatter=0.01, outlier_share=0.02, cold_factors=(2.0, 1.2))
    space = SearchSpace(kind=kind, resolutions=(64, 96))
    lut = simulate(tmp_path, device, dataclasses.replace(REQUEST, space=space))
    keys = {(entry.resolution, entry.key) for entry in lut.entries}
    assert keys == {(size, key) for size in (64, 96) for key in required_keys(space)}
    truth = np.array(
        [
            device.latency_ms(architecture_blocks(architecture, REQUEST.config))
            for architecture in lut.search_space.architectures()
        ]
    )
    errors = np.abs(lut.latencies_ms(lut.search_space.architectures()) / truth - 1)
    assert errors.mean() < 0.01
    assert errors.max() < 0.03
    assert lut.validation.mape_percent < 1
    assert lut.validation.kendall_tau > 0.97
    assert lut.stability.stable


def test_the_file_is_what_was_returned_with_samples_beside_it(tmp_path):
    lut = simulate(tmp_path)
    assert Lut.read(tmp_path / "t.json") == lut
    samples = read_samples(tmp_path / lut.raw_samples)
    assert len(samples.rounds) == lut.device.measured_on["measurement"]["rounds"] == 6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.json", "t.samples.json.gz"]


def test_two_runs_give_the_same_table(tmp_path):
    first, second = (simulate(tmp_path) for _ in range(2))
    assert first.entries == second.entries
    assert first.calibration == second.calibration
    assert first.validation == second.validation


def test_a_mismatch_is_recorded_warned_of_and_stops_on_request(tmp_path):
    expects = Expectation(what="cpu_model", pattern="Z80", description="a Zilog Z80")
    request = dataclasses.replace(REQUEST, device=dataclasses.replace(DEVICE, expectation=expects))
    warnings = []
    plugin = SimulatedPlugin()
    instruments = plugin.instruments(warn=warnings.append)
    lut = measure_lut(request, plugin, tmp_path / "t.json", instruments)
    assert lut.device.requested == "sim"
    assert lut.device.matches is False
    assert lut.device.measured_on["cpu"]["model"]
    assert ["expects a Zilog Z80" in warning for warning in warnings] == [True]
    with pytest.raises(UserError, match=r"a Zilog Z80; found here: .*--require-match"):
        simulate(tmp_path, request=request, require_match=True)


def test_a_busy_machine_makes_the_table_unstable_and_says_why(tmp_path):
    plugin = SimulatedPlugin()
    warnings = []
    instruments = Instruments(
        clock=plugin.time.now,
        interference=lambda: Interference(other_cpu_percent=95.0, steal_percent=0.0),
        other_profilers=lambda: 1,
        warn=warnings.append,
    )
    lut = measure_lut(REQUEST, plugin, tmp_path / "t.json", instruments)
    assert not lut.stability.stable
    assert any("other programs used the CPU" in reason for reason in lut.stability.reasons)
    assert any("another profiler" in reason for reason in lut.stability.reasons)
    assert any("another profiler" in warning for warning in warnings)


SETTINGS = MeasureSettings(
    calibration_networks=4, validation_networks=3, repeats=1, min_rounds=8, max_rounds=8
)
WORKLOAD = plan_workload(SearchSpace(resolutions=(64, 96)), NetworkConfig(width_mult=0.5), SETTINGS)
NAMES = [WORKLOAD.canary.name, *(item.name for item in WORKLOAD.items)]


def run_resumably(path, identity, instruments=None):
    """The measurement of `WORKLOAD`, and how many of its rounds were there already."""
    plugin = SimulatedPlugin()
    surroundings = instruments(plugin) if instruments else plugin.instruments()
    with plugin.open(PluginOptions()) as session:
        plan, rounds, num_resumed = resumable_rounds(
            session, WORKLOAD, SETTINGS, surroundings, PartialFile(path, NAMES), identity
        )
    return evaluate(plan, rounds, WORKLOAD.canary.name), num_resumed


class InterruptError(Exception):
    pass


class InterruptAfter(Progress):
    """A progress display that ends the program after some steps of the rounds."""

    def __init__(self, steps):
        super().__init__()
        self.left, self.measuring = steps, False

    def stage(self, name, total, done=0):
        self.measuring = name == "measuring"

    def advance(self, amount=1, *, name=None, note=""):
        self.left -= self.measuring
        if self.left < 0:
            raise InterruptError


@pytest.mark.parametrize("steps", [0, 1, pytest.param(100, marks=pytest.mark.slow), 400])
def test_an_interrupted_run_resumes_to_the_same_result(tmp_path, steps):
    identity = {"device": "simulated"}
    whole, none_resumed = run_resumably(tmp_path / "whole.partial", identity)
    assert none_resumed == 0
    path = tmp_path / "t.partial"
    with pytest.raises(InterruptError):
        run_resumably(path, identity, lambda p: p.instruments(progress=InterruptAfter(steps)))
    resumed, num_resumed = run_resumably(path, identity)
    assert num_resumed == steps // len(WORKLOAD.items)
    assert len(resumed.rounds) == len(whole.rounds)
    orders = [[[v.item for v in r.visits] for r in m.rounds] for m in (resumed, whole)]
    assert orders[0] == orders[1]
    for name, summary in whole.summaries.items():
        assert resumed.summaries[name].median_ms == pytest.approx(summary.median_ms, abs=2e-6)
        assert resumed.summaries[name].samples == summary.samples


def test_another_measurement_is_not_continued(tmp_path):
    run_resumably(tmp_path / "t.partial", {"seed": 0, "device": "a"})
    with pytest.raises(UserError, match=r"differs in seed; --fresh discards it"):
        run_resumably(tmp_path / "t.partial", {"seed": 1, "device": "a"})


def test_an_interrupted_measurement_of_something_else_is_kept_unless_fresh(tmp_path):
    class StoppedError(UserError):
        pass

    class StoppingProgress(Progress):
        stages = 0

        def stage(self, name, total, done=0):
            self.stages += 1

        def advance(self, amount=1, *, name=None, note=""):
            if self.stages == 3:
                raise StoppedError("stopped")

    plugin = SimulatedPlugin()
    instruments = plugin.instruments(progress=StoppingProgress())
    with pytest.raises(StoppedError):
        measure_lut(REQUEST, plugin, tmp_path / "t.json", instruments)
    assert partial_path(tmp_path / "t.json").exists()
    other = dataclasses.replace(REQUEST, config=NetworkConfig(width_mult=0.5, num_classes=10))
    with pytest.raises(UserError, match="differs in num_classes; --fresh"):
        simulate(tmp_path, request=other)
    lut = simulate(tmp_path, request=other, fresh=True)
    assert lut.device.measured_on["measurement"]["resumed_rounds"] == 0
    assert not partial_path(tmp_path / "t.json").exists()


def test_the_real_runtime_gives_a_usable_table(tmp_path):
    request = LutRequest(
        device=find_device("cpu", plugins=installed()),
        space=SearchSpace(resolutions=(32,)),
        config=NetworkConfig(width_mult=0.25, num_classes=10),
        settings=MeasureSettings(budget_seconds=2, min_rounds=4, max_rounds=6),
    )
    lut = measure_lut(request, PLUGIN, tmp_path / "cpu.json", Instruments())
    assert len(lut.entries) == 33
    assert lut.method == "measured"
    assert lut.device.matches is None
    assert lut.protocol.threads == 1
    assert lut.validation.networks == 8
    assert all(lut.latencies_ms(lut.search_space.architectures()) > 0)


def test_a_table_can_be_restricted_to_some_resolutions():
    request = LutRequest(
        device=find_device("a100", plugins=installed(), plugin="roofline"),
        space=SearchSpace(resolutions=(128, 160)),
        options=PluginOptions(batch_size=64, dtype="fp16"),
    )
    whole = import_table(request, ROOFLINE, None)
    part = import_table(request, ROOFLINE, (160,))
    assert part.space.resolutions == [160]
    assert part.entries == [entry for entry in whole.entries if entry.resolution == 160]
    with pytest.raises(UserError, match="has no 96 px, only"):
        restrict(whole, [96, 160])
