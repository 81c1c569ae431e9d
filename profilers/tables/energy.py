"""The energies of a table: from whole networks that were measured to shares of the blocks.

A block's share starts from its share of the latency; how the energies of the calibration networks
differ from what one power would make of their latencies is learned by the same fit that calibrates
latencies (`profilers.tables.calibrate`). The error is that of the validation networks, which the
fit never saw.
"""

from __future__ import annotations

import numpy as np

from fofa.errors import UserError
from fofa.latency import EnergyRecord, Lut
from fofa.space import Architecture, NetworkConfig
from profilers.measuring.energy import WINDOW_SECONDS, Energies
from profilers.measuring.statistics import noise_percent
from profilers.measuring.workload import Workload
from profilers.tables.calibrate import Timings, calibrate_blocks


def with_energies(lut: Lut, config: NetworkConfig, workload: Workload, energies: Energies) -> Lut:
    """`lut` with the energy of one image for every entry.

    Args:
        workload: that `energies` are of: its calibration and validation networks.

    Raises:
        UserError: if the energies cannot be those of networks.
    """
    per_image = 1000 / lut.protocol.batch_size
    found = {network: per_image * sum(two) / 2 for network, two in energies.joules.items()}
    space = lut.search_space
    fits = calibrate_blocks(
        {
            resolution: Timings(
                {
                    block: lut.block_ms(resolution, block.key)
                    for block in space.unique_blocks(resolution, config)
                },
                [
                    (item.blocks, found[item.architecture])
                    for item in workload.of("calibration", resolution)
                    if item.architecture
                ],
            )
            for resolution in space.resolutions
        }
    )
    shares = {
        (resolution, block.key): fit.calibration.scale * share
        for resolution, fit in fits.items()
        for block, share in fit.block_ms.items()
    }
    entries = [
        entry.model_copy(update={"energy_mj": shares[entry.resolution, entry.key]})
        for entry in lut.entries
    ]
    offsets = {str(resolution): fit.calibration.offset_ms for resolution, fit in fits.items()}
    measured = {network.name: energy for network, energy in found.items()}
    held_out = [item.architecture for item in workload.of("validation") if item.architecture]
    record = EnergyRecord(
        source=energies.source,
        idle_watts=energies.idle_watts,
        window_seconds=WINDOW_SECONDS,
        noise_percent=noise_percent([*energies.joules.values()]),
        networks=len(held_out),
        mape_percent=0.0,
        max_percent=0.0,
        offset_mj=offsets,
        measured_mj=measured,
    )
    lut = lut.model_copy(update={"entries": entries, "energy": record})
    errors = _errors_percent(lut, {network: found[network] for network in held_out})
    stated = {"mape_percent": float(errors.mean()), "max_percent": float(errors.max())}
    return lut.model_copy(update={"energy": record.model_copy(update=stated)})


def _errors_percent(lut: Lut, measured: dict[Architecture, float]) -> np.ndarray:
    """Size of the error of each network, in percent of what was measured."""
    predicted = np.array([lut.energy_mj(network) for network in measured])
    if predicted.min() <= 0:
        raise UserError("no table is written, because networks would take no energy: measure again")
    return 100 * np.abs(predicted / np.array([*measured.values()]) - 1)
