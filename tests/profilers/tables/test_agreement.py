"""Two tables of one device: what they differ by in common, what beyond it, and the verdict."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fofa.errors import UserError
from fofa.latency import Lut
from fofa.space import NetworkConfig, SearchSpace
from profilers.hardware.devices import Device
from profilers.measuring.settings import MeasureSettings
from profilers.measuring.simulation import SimulatedDevice, SimulatedPlugin
from profilers.tables.agreement import compare
from profilers.tables.build import measure_lut
from profilers.tables.measured import LutRequest

REQUEST = LutRequest(
    device=Device(name="sim", plugin="simulated", summary=""),
    space=SearchSpace(resolutions=(64, 96)),
    config=NetworkConfig(width_mult=0.5),
    settings=MeasureSettings(min_rounds=6, max_rounds=6),
)


def simulate(folder: Path, seed: int, speed: float = 1.0, **request: Any) -> Lut:
    """A table of a device whose speed wavers by some percent; `speed` is that of the day."""

    def slowness(seconds: float) -> float:
        return (1 + 0.04 * (int(seconds) % 3)) / speed

    plugin = SimulatedPlugin(SimulatedDevice(scatter=0.01, drift=slowness, seed=seed))
    return measure_lut(
        dataclasses.replace(REQUEST, **request),
        plugin,
        folder / f"{seed}.json",
        plugin.instruments(),
    )


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lut, Lut]:
    folder = tmp_path_factory.mktemp("tables")
    return simulate(folder, 1), simulate(folder, 2)


def edited(lut: Lut, change: Callable[[float], float]) -> Lut:
    """`lut` with the latency of every entry put through `change`."""
    data = lut.model_dump(by_alias=True)
    for entry in data["entries"]:
        entry["latency_ms"] = change(entry["latency_ms"])
    return Lut.model_validate(data)


def test_two_runs_on_one_device_agree(tables: tuple[Lut, Lut]) -> None:
    found = compare(*tables)
    assert found.agrees is True
    assert found.architectures == 2 * 243
    assert 0 < found.rest_percent < found.rest_max_percent < 3
    assert found.differences == ()


def test_a_faster_day_within_the_stated_variation_agrees(
    tables: tuple[Lut, Lut], tmp_path: Path
) -> None:
    found = compare(simulate(tmp_path, 3, speed=1.01), tables[1])
    assert found.common_percent == pytest.approx(-1, abs=5)
    assert found.agrees is True


def test_a_slower_device_does_not_agree(tables: tuple[Lut, Lut], tmp_path: Path) -> None:
    found = compare(simulate(tmp_path, 3, speed=0.8), tables[1])
    assert found.common_percent > 15
    assert found.rest_percent < 2
    assert found.agrees is False


def test_networks_that_change_their_order_do_not_agree(tables: tuple[Lut, Lut]) -> None:
    rng = random.Random(0)
    shuffled = edited(tables[0], lambda ms: ms * rng.choice([0.7, 1.3]))
    found = compare(shuffled, tables[1])
    assert found.rest_percent > 3
    assert found.agrees is False


def test_a_table_agrees_with_itself_exactly(tables: tuple[Lut, Lut]) -> None:
    found = compare(tables[0], tables[0])
    assert (found.common_percent, found.rest_percent, found.rest_max_percent) == (0, 0, 0)


def test_only_common_resolutions_are_compared(tables: tuple[Lut, Lut], tmp_path: Path) -> None:
    other = simulate(tmp_path, 4, space=SearchSpace(resolutions=(96, 128)))
    assert compare(tables[0], other).architectures == 243


def test_tables_that_were_not_measured_get_no_verdict(tables: tuple[Lut, Lut]) -> None:
    published = tables[0].model_copy(update={"validation": None, "method": "published"})
    found = compare(published, tables[1])
    assert found.agrees is None
    assert found.stated_common_percent is found.stated_rest_percent is None


def test_other_ways_of_measuring_are_named(tables: tuple[Lut, Lut]) -> None:
    protocol = tables[0].protocol.model_copy(update={"threads": 7})
    found = compare(tables[0], tables[1].model_copy(update={"protocol": protocol}))
    assert any("threads 7 in the table" in difference for difference in found.differences)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (SearchSpace(kind="elastic", resolutions=(64,)), "different spaces: compound"),
        (SearchSpace(resolutions=(128,)), "no resolution in common"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tables: tuple[Lut, Lut], tmp_path: Path, space: SearchSpace, message: str
) -> None:
    other = simulate(tmp_path, 4, space=space)
    with pytest.raises(UserError, match=message):
        compare(tables[0], other)
