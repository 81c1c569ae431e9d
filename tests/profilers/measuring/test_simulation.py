"""The simulated device keeps to the plugin protocol and to its own description."""

import pytest

from fofa.space import NetworkConfig, Subnet, network_blocks
from profilers.measuring.simulation import SimulatedDevice, SimulatedPlugin
from profilers.plugin import PluginOptions

BLOCKS = network_blocks(Subnet.compound((2,) * 5), 64, NetworkConfig())


def runner(device):
    plugin = SimulatedPlugin(device)
    return plugin, plugin.open(PluginOptions()).lower(BLOCKS)


def test_time_passes_only_when_something_runs():
    plugin, run = runner(SimulatedDevice())
    assert plugin.time.now() == 0
    took = run.run()
    assert plugin.time.now() == pytest.approx(took / 1e3)


def test_a_device_that_does_not_wait_shows_the_launch_but_takes_its_time():
    plugin, run = runner(SimulatedDevice(launch_ms=0.01))
    assert run.run() == 0.01
    assert plugin.time.now() * 1e3 == pytest.approx(SimulatedDevice().latency_ms(BLOCKS))


def test_the_first_runs_after_another_item_are_cold():
    plugin = SimulatedPlugin(SimulatedDevice(cold_factors=(3.0, 2.0)))
    session = plugin.open(PluginOptions())
    one, other = session.lower(BLOCKS), session.lower(BLOCKS)
    steady = SimulatedDevice().latency_ms(BLOCKS)
    times = [one.run() for _ in range(3)] + [other.run(), one.run()]
    assert times == pytest.approx([3 * steady, 2 * steady, steady, 3 * steady, 3 * steady])
