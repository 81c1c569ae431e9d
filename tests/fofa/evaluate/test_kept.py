"""Kept statistics give back the network that was evaluated, and only for the same weights."""

import pytest
import torch

from fofa.data import DataSource
from fofa.errors import UserError
from fofa.evaluate.calibrate import calibrate
from fofa.evaluate.kept import keep_statistics, load_calibrated, statistics_path
from fofa.runs import Run
from fofa.space import parse_architecture
from fofa.supernet.model import Supernet
from fofa.supernet.weights import save_weights

ARCHITECTURE = parse_architecture("23232@24")


def test_the_evaluated_network_comes_back(run: Run, supernet: Supernet, noise: DataSource) -> None:
    assert load_calibrated(run, ARCHITECTURE) is None
    network = calibrate(supernet, ARCHITECTURE, noise.calibration_batches(24, 40, 16))
    path = keep_statistics(run, ARCHITECTURE, network)
    assert path == run.folder / "statistics" / "23232@24.safetensors"
    loaded = load_calibrated(run, ARCHITECTURE)
    assert loaded is not None
    assert not loaded.training
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    assert load_calibrated(run, parse_architecture("23232@32")) is None


def test_statistics_of_other_weights_do_not_count(
    run: Run, supernet: Supernet, noise: DataSource
) -> None:
    network = calibrate(supernet, ARCHITECTURE, noise.calibration_batches(24, 40, 16))
    keep_statistics(run, ARCHITECTURE, network)
    with torch.no_grad():
        supernet.stem.conv.weight.mul_(2)
    save_weights(supernet, run.weights)
    assert load_calibrated(run, ARCHITECTURE) is None


def test_a_damaged_file_is_named(run: Run) -> None:
    path = statistics_path(run, ARCHITECTURE)
    path.parent.mkdir()
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="not a safetensors file"):
        load_calibrated(run, ARCHITECTURE)
