"""The table's own error, on whole networks that its calibration never saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import kendalltau

from fofa.latency import Validation


def validation_record(
    predicted_ms: Sequence[float] | np.ndarray,
    measured_ms: Sequence[float] | np.ndarray,
    repeats_ms: Sequence[tuple[float, float]],
) -> Validation:
    """Errors in percent of the measured time.

    Args:
        predicted_ms, measured_ms: of each validation network.
        repeats_ms: pairs of times of one network that was timed as two separate entries; their
            mean relative difference is the noise floor, below which no table can come.
    """
    predicted, measured = np.asarray(predicted_ms), np.asarray(measured_ms)
    errors = 100 * np.abs(predicted / measured - 1)
    tau = float(kendalltau(predicted, measured).statistic) if len(measured) > 1 else float("nan")
    return Validation(
        networks=len(measured),
        mape_percent=float(errors.mean()),
        max_percent=float(errors.max()),
        within_5_percent=float(100 * np.mean(errors <= 5)),
        within_10_percent=float(100 * np.mean(errors <= 10)),
        kendall_tau=None if np.isnan(tau) else tau,
        noise_percent=noise_percent(repeats_ms),
    )


def noise_percent(repeats_ms: Sequence[tuple[float, float]]) -> float:
    """Mean difference between two timings of one network, in percent of their mean; 0 for none."""
    if not repeats_ms:
        return 0.0
    pairs = np.array(repeats_ms)
    return float(100 * np.mean(np.abs(pairs[:, 0] - pairs[:, 1]) / pairs.mean(axis=1)))
