"""The measurement core on a simulated device: no clock, so every number can be checked."""

import math
import subprocess
import sys

import numpy as np
import pytest

from fofa.space import NetworkConfig, SearchSpace
from profilers.measuring.measurement import evaluate
from profilers.measuring.rounds import run_rounds
from profilers.measuring.samples import read_samples, round_of, write_samples
from profilers.measuring.settings import MeasureSettings
from profilers.measuring.simulation import SimulatedDevice, SimulatedPlugin
from profilers.measuring.workload import plan_workload
from profilers.plugin import PluginOptions

SETTINGS = MeasureSettings(
    calibration_networks=4, validation_networks=3, repeats=1, min_rounds=8, max_rounds=8
)
WORKLOAD = plan_workload(SearchSpace(resolutions=(64, 96)), NetworkConfig(width_mult=0.5), SETTINGS)


def run(device, *, settings=SETTINGS):
    plugin = SimulatedPlugin(device)
    with plugin.open(PluginOptions()) as session:
        plan, rounds = run_rounds(session, WORKLOAD, settings, plugin.instruments())
    return evaluate(plan, rounds, WORKLOAD.canary.name)


def relative_errors(measurement, device):
    """Of every item against the device's true latency, as a ratio to their median.

    Latencies are of the machine's median speed, so one common factor is free.
    """
    ratios = np.array(
        [
            measurement.summaries[item.name].median_ms / device.latency_ms(item.blocks)
            for item in WORKLOAD.items
        ]
    )
    return ratios / np.median(ratios) - 1


def test_without_disturbance_times_are_exact():
    device = SimulatedDevice()
    measurement = run(device)
    for item in WORKLOAD.items:
        expected = device.latency_ms(item.blocks)
        assert measurement.summaries[item.name].median_ms == pytest.approx(expected, abs=1e-6)
        assert measurement.summaries[item.name].mad_ms == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "drift",
    [
        lambda seconds: 1 + 0.2 * seconds,
        lambda seconds: 1 + 0.3 * math.sin(10 * seconds),
        lambda seconds: 1.0 if seconds < 0.4 else 1.4,
    ],
    ids=["steady", "wave", "step"],
)
def test_drift_is_removed(drift):
    device = SimulatedDevice(drift=drift)
    measurement = run(device)
    errors = np.abs(relative_errors(measurement, device))
    assert measurement.drift.canary_percent > 10
    assert errors.mean() < 0.005
    assert errors.max() < 0.04
    assert measurement.drift.residual_percent < measurement.drift.canary_percent / 4


def test_outliers_do_not_move_the_result():
    measurement = run(SimulatedDevice(outlier_share=0.05, outlier_factor=50))
    errors = relative_errors(measurement, SimulatedDevice())
    assert np.abs(errors).max() < 1e-4


def test_cold_runs_are_not_recorded():
    device = SimulatedDevice(cold_factors=(3.0, 1.6, 1.2))
    measurement = run(device)
    assert measurement.plan.warmup_runs == 3
    assert np.abs(relative_errors(measurement, device)).max() < 1e-4


def test_rounds_are_interleaved_in_changing_order():
    measurement = run(SimulatedDevice())
    orders = [
        [visit.item for visit in round_.visits if visit.item != WORKLOAD.canary.name]
        for round_ in measurement.rounds
    ]
    assert all(sorted(order) == sorted(item.name for item in WORKLOAD.items) for order in orders)
    assert len({tuple(order) for order in orders}) == len(orders)
    for round_ in measurement.rounds:
        assert any(visit.item == WORKLOAD.canary.name for visit in round_.visits)


def test_the_order_follows_from_the_seed():
    first, second = run(SimulatedDevice()), run(SimulatedDevice())
    assert first.rounds == second.rounds
    other = MeasureSettings(
        seed=1,
        calibration_networks=4,
        validation_networks=3,
        repeats=1,
        min_rounds=8,
        max_rounds=8,
    )
    assert run(SimulatedDevice(), settings=other).rounds != first.rounds


def test_the_budget_sets_the_number_of_rounds():
    def rounds(budget):
        settings = MeasureSettings(
            calibration_networks=4, validation_networks=3, min_rounds=2, budget_seconds=budget
        )
        return len(run(SimulatedDevice(), settings=settings).rounds)

    assert rounds(0.1) == 2
    assert 2 < rounds(3.0) < rounds(6.0) <= MeasureSettings().max_rounds


def test_an_hour_of_building_leaves_the_rounds_their_time():
    settings = MeasureSettings(
        calibration_networks=4, validation_networks=3, min_rounds=2, budget_seconds=3.0
    )
    hour = run(SimulatedDevice(build_seconds=3600 / len(WORKLOAD.items)), settings=settings)
    assert len(hour.rounds) == len(run(SimulatedDevice(), settings=settings).rounds)


def test_the_budget_is_of_wall_time_whatever_a_runs_own_clock_leaves_out():
    """A GPU's clock does not see the launches and the wait for the end."""
    settings = MeasureSettings(
        calibration_networks=4,
        validation_networks=3,
        min_rounds=2,
        max_rounds=1000,
        budget_seconds=4.0,
    )
    plugin = SimulatedPlugin(SimulatedDevice(launch_ms=0.02))
    with plugin.open(PluginOptions()) as session:
        run_rounds(session, WORKLOAD, settings, plugin.instruments())
    assert 3.0 < plugin.time.seconds < 6.0


def test_garbage_collection_is_restored():
    import gc

    run(SimulatedDevice())
    assert gc.isenabled()


def test_rounds_that_were_carried_in_a_file_say_the_same(tmp_path):
    made = run(SimulatedDevice(scatter=0.02, drift=lambda seconds: 1 + 0.1 * seconds))
    path = tmp_path / "t.samples.json.gz"
    write_samples(path, made.samples_file({"device": "simulated"}))
    file = read_samples(path)
    rounds = [round_of(record, file.items) for record in file.rounds]
    again = evaluate(file.plan, rounds, WORKLOAD.canary.name)
    for name, summary in made.summaries.items():
        assert again.summaries[name].median_ms == pytest.approx(summary.median_ms, abs=2e-6)
    assert again.drift.canary_percent == pytest.approx(made.drift.canary_percent, abs=0.01)


@pytest.mark.parametrize("step", ["workload", "measurement"])
def test_planning_and_evaluating_need_no_runtime_and_no_plugin(step):
    code = f"import sys, profilers.measuring.{step}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not {"torch", "onnxruntime", "profilers.plugin"} & loaded
