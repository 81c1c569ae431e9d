"""The verdict on a measurement, and which rounds it is made from."""

from dataclasses import replace

import numpy as np
import pytest
from fake_gpu import FakeCuda, FakeNvml

from profilers.hardware.cuda import open_gpu
from profilers.measuring.drift import Drift
from profilers.measuring.samples import Round
from profilers.measuring.stability import judge, usable_rounds
from profilers.measuring.statistics import Summary

STEADY = Drift(
    seconds=np.array([0.0]),
    slowness=np.array([1.0]),
    network_slowness=np.array([1.0]),
    blocks=frozenset(),
    canary_percent=2.0,
    residual_percent=1.0,
)
CALM = [Summary(10.0, 0.1, 10, 30)]


def rounds(*other_cpu, **fields):
    return [
        Round(number=number, visits=(), other_cpu_percent=value, **fields)
        for number, value in enumerate(other_cpu)
    ]


def test_a_quiet_steady_machine_is_stable():
    verdict = judge(rounds(0.0, 1.0, 3.0), STEADY, CALM, 0.5)
    assert verdict.stable
    assert verdict.reasons == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"made": rounds(80.0, 90.0)}, "other programs used the CPU in 2 of 2 rounds, 85%"),
        (
            {"made": rounds(0.0, machine_cpu_percent=40.0)},
            "kept the machine busy in 1 of 1 rounds, 40% of all cores",
        ),
        ({"made": rounds(0.0, steal_percent=30.0)}, "hypervisor took up to 30%"),
        ({"made": rounds(0.0, 0.0, other_profilers=1)}, "another profiler"),
        ({"drift": replace(STEADY, canary_percent=40.0)}, "drifted by 40.0%"),
        ({"networks": [Summary(10.0, 1.0, 10, 30)]}, "scatter by 14.8%"),
        ({"noise": 5.0}, "timed twice differs by 5.0%"),
        ({"made": rounds(0.0, state={"gpu": {"throttled": True}})}, "held the GPU's clock down"),
        (
            {"made": rounds(0.0, state={"gpu": {"foreign_processes": 2}})},
            "2 other processes used the GPU",
        ),
    ],
)
def test_every_fault_is_named(change, reason):
    given = {"made": rounds(0.0), "drift": STEADY, "networks": CALM, "noise": 0.5} | change
    verdict = judge(given["made"], given["drift"], given["networks"], given["noise"])
    assert not verdict.stable
    assert any(reason in text for text in verdict.reasons)


def test_changing_gpu_clocks_are_named():
    made = [
        Round(number=number, visits=(), state={"gpu": {"sm_clock_mhz": clock}})
        for number, clock in enumerate((1410, 1410, 1095))
    ]
    verdict = judge(made, STEADY, CALM)
    [reason] = verdict.reasons
    assert reason.startswith("sm_clock_mhz changed between 1095 and 1410 (nvidia-smi --lock")


def test_the_state_of_an_opened_gpu_is_what_is_judged(monkeypatch):
    """Not a state made up for this test: the one that the GPU plugins record."""
    FakeCuda(monkeypatch)
    driver = FakeNvml(monkeypatch)
    device = open_gpu()
    driver.processes = [1, 2]
    driver.reasons = 0x40
    verdict = judge(rounds(0.0, 0.0, state=device.state()), STEADY, CALM)
    assert verdict.reasons == [
        "heat or power held the GPU's clock down",
        "2 other processes used the GPU",
    ]


def test_disturbed_rounds_are_left_out_while_enough_remain():
    made = rounds(0.0, 100.0, 0.0, 0.0, 60.0, 0.0)
    assert [r.number for r in usable_rounds(made)] == [0, 2, 3, 5]
    assert judge(usable_rounds(made), STEADY, CALM).stable


@pytest.mark.parametrize(
    "made", [rounds(0.0, 90.0, 90.0, 0.0, 0.0), rounds(*[0.0] * 4, *[99.0] * 8)]
)
def test_too_few_undisturbed_rounds_make_it_unstable(made):
    assert usable_rounds(made) == made
    assert not judge(usable_rounds(made), STEADY, CALM).stable
