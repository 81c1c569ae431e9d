"""What is timed."""

import numpy as np
import pytest

from fofa.latency import required_keys
from fofa.space import NetworkConfig, SearchSpace, macs, params
from profilers.measuring.settings import MeasureSettings
from profilers.measuring.workload import d_optimal, front_rows, plan_workload

SETTINGS = MeasureSettings()


@pytest.mark.parametrize("kind", ["compound", "elastic"])
def test_every_block_is_timed_once_per_resolution(kind):
    space = SearchSpace(kind=kind, resolutions=(128, 224))
    workload = plan_workload(space, NetworkConfig(), SETTINGS)
    for resolution in space.resolutions:
        keys = [item.blocks[0].key for item in workload.of("block", resolution)]
        assert sorted(map(str, keys)) == sorted(map(str, required_keys(space)))


@pytest.mark.parametrize("kind", ["compound", "elastic"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_validation_networks_are_never_used_in_calibration(kind, seed):
    space = SearchSpace(kind=kind, resolutions=(128, 160))
    workload = plan_workload(space, NetworkConfig(), MeasureSettings(seed=seed))
    for resolution in space.resolutions:
        calibration = {item.architecture for item in workload.of("calibration", resolution)}
        validation = {item.architecture for item in workload.of("validation", resolution)}
        repeats = [item.architecture for item in workload.of("repeat", resolution)]
        assert len(calibration) == SETTINGS.calibration_networks
        assert len(validation) == SETTINGS.validation_networks
        assert not calibration & validation
        assert len(repeats) == SETTINGS.repeats
        assert set(repeats) <= validation
        assert {item.replica for item in workload.of("repeat")} == {1}
        assert {item.replica for item in workload.of("validation")} == {0}
        assert all(architecture in space for architecture in calibration | validation)


def test_names_are_unique_and_the_choice_follows_from_the_seed():
    def names(seed):
        space = SearchSpace(kind="elastic", resolutions=(128, 160))
        plan = plan_workload(space, NetworkConfig(), MeasureSettings(seed=seed))
        return [plan.canary.name, *(item.name for item in plan.items)]

    assert len(set(names(0))) == len(names(0))
    assert names(0) == names(0)
    assert names(0) != names(1)


def test_calibration_tells_every_depth_of_every_stage():
    workload = plan_workload(SearchSpace(resolutions=(160,)), NetworkConfig(), SETTINGS)
    depths = [item.architecture.subnet.depths for item in workload.of("calibration")]
    for stage in zip(*depths, strict=True):
        assert set(stage) == {2, 3, 4}


def test_d_optimal_prefers_rows_that_say_something_new():
    features = np.array([[1.0, 0.0], [0.99, 0.01], [0.0, 1.0], [0.98, 0.02]])
    assert set(d_optimal(features, 2)) == {0, 2}
    assert len(set(d_optimal(features, 4))) == 4
    assert len(d_optimal(features, 9)) == 4


def test_half_of_the_validation_networks_lie_where_searches_end():
    """On the front of most parameters for the multiply-adds, spread over all of it."""
    config = NetworkConfig()
    workload = plan_workload(SearchSpace(resolutions=(160,)), config, SETTINGS)
    calibration = {item.architecture for item in workload.of("calibration")}
    rest = [a for a in SearchSpace(resolutions=(160,)).architectures() if a not in calibration]
    front = front_rows(
        np.array([macs(a, config) for a in rest]), np.array([params(a, config) for a in rest])
    )
    chosen = [item.architecture for item in workload.of("validation")]
    on_it = [rest[row] for row in front if rest[row] in chosen]
    assert len(on_it) >= SETTINGS.validation_networks // 2
    assert {rest[front[0]], rest[front[-1]]} <= set(chosen)


def test_nothing_beats_a_front():
    time, value = np.array([3.0, 1.0, 2.0, 2.0, 4.0]), np.array([5.0, 1.0, 3.0, 2.0, 5.0])
    assert front_rows(time, value) == [1, 2, 0]
