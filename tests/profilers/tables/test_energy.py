"""Energies of a table, on a simulated device whose true ones are known."""

import contextlib
import math
from dataclasses import dataclass

import numpy as np
import pytest

from fofa.errors import UserError
from fofa.latency import Lut
from fofa.space import NetworkConfig, SearchSpace, architecture_blocks, block_macs
from profilers.hardware.devices import Device
from profilers.measuring import energy
from profilers.measuring.settings import MeasureSettings
from profilers.measuring.simulation import (
    SimulatedPlugin,
    SimulatedRunner,
    SimulatedSession,
    SimulatedTime,
)
from profilers.plugin import EnergyCounter, PluginOptions, Runner
from profilers.tables.build import measure_lut
from profilers.tables.measured import LutRequest

IDLE_WATTS = 20.0
JOULES_PER_MAC = 2e-10
STEP_JOULES = 0.02
"""What the counter moves by: about a millisecond's worth."""
CONFIG = NetworkConfig(width_mult=0.5)
SPACE = SearchSpace(width_mult=0.5, resolutions=(64, 96))


@dataclass
class Work:
    """Multiply-adds so far."""

    macs: float = 0.0


@dataclass(eq=False)
class CountedRunner(Runner):
    """A run of which the energy is known: it does `macs` multiply-adds."""

    inner: SimulatedRunner
    work: Work
    macs: float

    def run(self):
        self.work.macs += self.macs
        return self.inner.run()

    def close(self):
        self.inner.close()


class CountedSession(SimulatedSession):
    """Idles at a power, and takes energy for every multiply-add on top of it."""

    work: Work
    now: SimulatedTime

    def lower(self, blocks):
        macs = self.protocol.batch_size * sum(block_macs(block) for block in blocks)
        return CountedRunner(super().lower(blocks), self.work, macs)

    def energy(self):
        def joules():
            found = IDLE_WATTS * self.now.seconds + JOULES_PER_MAC * self.work.macs
            return STEP_JOULES * math.floor(found / STEP_JOULES)

        return contextlib.nullcontext(EnergyCounter("a simulated counter", joules))


class CountedPlugin(SimulatedPlugin):
    def open(self, options):
        session = CountedSession(self.device, self.time, options.batch_size or 1)
        session.work, session.now = Work(), self.time
        return session


def measured(tmp_path, plugin, **options):
    request = LutRequest(
        device=Device(name="sim", plugin="simulated", summary=""),
        space=SPACE,
        config=CONFIG,
        options=PluginOptions(**options),
        settings=MeasureSettings(min_rounds=6, max_rounds=6),
    )
    out = tmp_path / "t.json"
    return measure_lut(request, plugin, out, plugin.instruments(), energy=True)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_table_predicts_the_energy_of_every_network(tmp_path, batch_size):
    plugin = CountedPlugin()
    lut = measured(tmp_path, plugin, batch_size=batch_size)
    assert Lut.read(tmp_path / "t.json") == lut
    assert lut.energy.idle_watts == pytest.approx(IDLE_WATTS, rel=0.01)
    assert lut.energy.source == "a simulated counter"
    errors = []
    for network in lut.search_space.architectures():
        blocks = architecture_blocks(network, CONFIG)
        watts_seconds = IDLE_WATTS * plugin.device.latency_ms(blocks) / 1e3
        truth = 1e3 * (watts_seconds + JOULES_PER_MAC * sum(block_macs(b) for b in blocks))
        errors.append(100 * abs(lut.energy_mj(network) / truth - 1))
        if network.name in lut.energy.measured_mj:
            assert lut.energy.measured_mj[network.name] == pytest.approx(truth, rel=0.01)
    assert np.mean(errors) < 1
    assert np.max(errors) < 3
    assert lut.energy.mape_percent < 1
    assert lut.energy.networks == 2 * MeasureSettings().validation_networks


def test_without_a_counter_nothing_is_measured(tmp_path):
    plugin = SimulatedPlugin()
    with pytest.raises(UserError, match="plugin simulated knows no counter of energy"):
        measured(tmp_path, plugin)
    assert plugin.time.runs == 0
    assert list(tmp_path.iterdir()) == []


def test_a_counter_that_stands_still_is_one_line(monkeypatch):
    time = SimulatedTime()
    counter = EnergyCounter("RAPL package-0", lambda: 7.0)
    with pytest.raises(UserError, match="RAPL package-0 stands still"):
        energy.watch(lambda: time.wait(0.01), counter, time.now)


@pytest.mark.parametrize("step_seconds", [0.001, 0.1])
def test_a_window_is_whole_steps_of_the_counter(step_seconds):
    time, watts = SimulatedTime(), 50.0
    steps = EnergyCounter(
        "", lambda: watts * step_seconds * math.floor(time.seconds / step_seconds)
    )
    window = energy.watch(lambda: time.wait(0.0007), steps, time.now)
    assert window.seconds >= energy.WINDOW_SECONDS
    # Off by a run at either end, whatever the length of a step.
    assert window.joules == pytest.approx(watts * window.seconds, abs=watts * 2 * 0.0007)


def test_a_table_without_energies_says_how_to_get_them(make_lut):
    lut = make_lut()
    with pytest.raises(UserError, match="fofa-profile --energy measures them"):
        lut.energy_mj(next(iter(lut.search_space.architectures())))
