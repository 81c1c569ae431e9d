"""Accuracy in int8: the same however it is computed, and checked against exported graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from evaluations import evaluate

from fofa.data import DataSource
from fofa.evaluate.evaluator import count_correct
from fofa.evaluate.int8 import checked_architectures
from fofa.evaluate.plan import Plan, plan_units
from fofa.int8.network import find_ranges, simulate
from fofa.recalibration import calibrate
from fofa.runtime.int8 import Int8Scheme, Quantisation
from fofa.space import SearchSpace, macs, parse_architecture
from fofa.supernet.model import Supernet

SPACE = SearchSpace(kind="compound", width_mult=0.25, resolutions=(24, 32))
NAMES = ["22222@24", "44444@24", "23432@32"]
INT8 = Quantisation(Int8Scheme(), 20)


def make_plan(one_at_a_time: bool = False) -> Plan:
    units = plan_units(SPACE, [parse_architecture(n) for n in NAMES], one_at_a_time=one_at_a_time)
    return Plan(units=units, batch_size=16, calibration_images=40, int8=INT8)


def test_counts_are_those_of_each_network_alone(supernet: Supernet, noise: DataSource) -> None:
    measured = evaluate(supernet, noise, make_plan())
    apart = evaluate(supernet, noise, make_plan(one_at_a_time=True))
    assert measured.architectures == apart.architectures
    assert measured.checks == apart.checks
    for entry in measured.architectures:
        architecture = parse_architecture(entry.name)
        side = architecture.resolution
        network = calibrate(supernet, architecture, noise.calibration_batches(side, 40, 16))
        shown = noise.calibration_batches(side, 20, 16, 1)
        ranges = find_ranges(network, side, shown, 20, INT8.scheme)
        logits = simulate(network, side, INT8.scheme, ranges)
        right = sum(count_correct(logits(x), y) for x, y in noise.test_batches(side, 30))
        assert [entry.top1, entry.top5] == pytest.approx((100 * right / 30).tolist())
    plain = evaluate(supernet, noise, replace(make_plan(), int8=None))
    assert plain.architectures != measured.architectures
    assert plain.checks == ()


def test_the_checks_are_of_the_smallest_the_middle_and_the_largest(
    supernet: Supernet, noise: DataSource
) -> None:
    # Weights of 7 bits are exact on every processor (`products_overflow`).
    plan = replace(make_plan(), int8=Quantisation(Int8Scheme(weight_bits=7), 20))
    assert {a.name for a in checked_architectures(plan, supernet.network_config)} == set(NAMES)
    every = Plan(units=plan_units(SPACE), batch_size=16, calibration_images=40)
    sizes = [macs(a, supernet.network_config) for a in every.architectures]
    chosen = checked_architectures(every, supernet.network_config)
    found = [macs(a, supernet.network_config) for a in chosen]
    assert (len(found), found[0], found[-1]) == (3, min(sizes), max(sizes))
    by_name = {entry.name: entry for entry in evaluate(supernet, noise, plan).architectures}
    for check in evaluate(supernet, noise, plan).checks:
        assert check.test_images == 30
        assert check.simulated_top1 == pytest.approx(by_name[check.name].top1)
        assert check.same_percent >= 90
        assert abs(check.exact_top1 - check.simulated_top1) <= 100 - check.same_percent + 1e-9


def test_broken_off_it_goes_on_to_the_same_numbers(
    supernet: Supernet, noise: DataSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan()
    whole = evaluate(supernet, noise, plan)
    plain = type(noise).test_batches
    for after in range(4):  # two batches of test images in each of two units
        given = []

        def breaking(self, *args, given=given, after=after):
            for batch in plain(self, *args):
                if len(given) == after:
                    raise InterruptedError
                given.append(batch)
                yield batch

        monkeypatch.setattr(type(noise), "test_batches", breaking)
        partial = tmp_path / f"{after}.partial"
        with pytest.raises(InterruptedError):
            evaluate(supernet, noise, plan, partial)
        monkeypatch.setattr(type(noise), "test_batches", plain)
        resumed = evaluate(supernet, noise, plan, partial)
        assert (resumed.architectures, resumed.checks) == (whole.architectures, whole.checks)
