"""Fitting a table to whole networks, and what the fit leaves unknown."""

import random

import numpy as np
import pytest

from fofa.space import NetworkConfig, SearchSpace, block_macs, compound_subnets, network_blocks
from profilers.tables.calibrate import Timings, calibrate_blocks

CONFIG = NetworkConfig()
SPACE = SearchSpace(resolutions=(160,))
BLOCKS = SPACE.unique_blocks(160, CONFIG)
ALONE = {block: 0.03 + block_macs(block) / 1e8 for block in BLOCKS}
SUBNETS = list(compound_subnets())


def sums(values, subnets):
    return [sum(values[b] for b in network_blocks(s, 160, CONFIG)) for s in subnets]


def networks(subnets, times):
    return [(network_blocks(s, 160, CONFIG), ms) for s, ms in zip(subnets, times, strict=True)]


def fit(measured):
    return calibrate_blocks({160: Timings(ALONE, measured)})[160]


def predict(fitted, subnets):
    total = np.array(sums(fitted.block_ms, subnets))
    return fitted.calibration.scale * total + fitted.calibration.offset_ms


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1.2, -0.3), (0.8, 0.4)])
def test_scale_and_offset_are_found(scale, offset):
    chosen = random.Random(0).sample(SUBNETS, 12)
    truth = scale * np.array(sums(ALONE, SUBNETS)) + offset
    measured = scale * np.array(sums(ALONE, chosen)) + offset
    fitted = fit(networks(chosen, measured))
    assert predict(fitted, SUBNETS) == pytest.approx(truth, rel=0.01)


def test_deviations_of_some_blocks_are_learned():
    real = {b: ms * (1.2 if b.squeeze_channels else 1.0) for b, ms in ALONE.items()}
    chosen = random.Random(1).sample(SUBNETS, 14)
    fitted = fit(networks(chosen, sums(real, chosen)))
    truth = np.array(sums(real, SUBNETS))
    plain = np.array(sums(ALONE, SUBNETS))
    plain *= np.median(truth / plain)
    fitted_error = np.abs(predict(fitted, SUBNETS) / truth - 1).mean()
    assert fitted_error < 0.25 * np.abs(plain / truth - 1).mean()


def test_one_wild_network_is_weighted_down():
    chosen = random.Random(2).sample(SUBNETS, 12)
    measured = np.array(sums(ALONE, chosen))
    measured[3] *= 1.5
    fitted = fit(networks(chosen, measured))
    assert predict(fitted, SUBNETS) == pytest.approx(np.array(sums(ALONE, SUBNETS)), rel=0.02)


def test_entries_stay_positive_and_near_what_was_measured():
    rng = np.random.default_rng(3)
    chosen = random.Random(3).sample(SUBNETS, 6)
    measured = np.array(sums(ALONE, chosen)) * rng.uniform(0.2, 5, len(chosen))
    fitted = fit(networks(chosen, measured))
    ratios = np.array([fitted.block_ms[block] / ALONE[block] for block in BLOCKS])
    assert np.all((ratios >= 0.5) & (ratios <= 1.5))
    assert fitted.calibration.scale > 0


def test_the_posterior_covers_what_the_fit_does_not_know():
    """Blocks that deviate at random: errors over the whole space are of the size that is stated."""
    rng = np.random.default_rng(0)
    scores = []
    for seed in range(8):
        real = {b: ms * (1 + 0.04 * rng.standard_normal()) for b, ms in ALONE.items()}
        chosen = random.Random(seed).sample(SUBNETS, 16)
        noisy = np.array(sums(real, chosen)) * (1 + 0.005 * rng.standard_normal(16))
        fitted = fit(networks(chosen, noisy))
        deviations = fitted.posterior.deviations_ms(
            [network_blocks(s, 160, CONFIG) for s in SUBNETS]
        )
        assert np.all(deviations > 0)
        scores.append((predict(fitted, SUBNETS) - np.array(sums(real, SUBNETS))) / deviations)
    assert 0.4 < np.sqrt(np.mean(np.square(scores))) < 1.6
