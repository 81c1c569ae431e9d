"""Budgets beside latency and multiply-adds: parameters, the file's size, the peak of activations.

All are computed from the description of a network, for the number type that it is deployed in:
that of the latency table, or, where there is none, of the accuracy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fofa.accuracy import AccuracyTable
from fofa.errors import UserError
from fofa.precision import short_precision
from fofa.predictor.model import Predictor
from fofa.runtime.footprint import VALUE_BYTES, file_bytes, peak_bytes
from fofa.runtime.int8 import Int8Scheme, parse_scheme
from fofa.search.costs import FIXED, CostTable, additive_costs
from fofa.search.pairing import network_config
from fofa.space import BlockKey, BlockSpec, NetworkConfig, SearchSpace, SpaceKind
from fofa.space.cost import block_params
from fofa.space.encoding import Population

Kind = Literal["params", "size", "memory"]
UNITS: dict[Kind, str] = {
    "params": "parameters",
    "size": "bytes of a file",
    "memory": "bytes of activations",
}
BYTES = {"": 1, "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """Inclusive limits; None for none. `memory` is of one image.

    Raises:
        UserError: if a limit is no finite number above 0.
    """

    params: float | None = None
    size: float | None = None
    memory: float | None = None

    def __post_init__(self) -> None:
        for kind, limit in self.limited.items():
            if not (math.isfinite(limit) and limit > 0):
                raise UserError(
                    f"a limit of {limit:g} {UNITS[kind]}: expected a finite number above 0"
                )

    @property
    def limited(self) -> dict[Kind, float]:
        """The limits that there are."""
        given: dict[Kind, float | None] = {
            "params": self.params,
            "size": self.size,
            "memory": self.memory,
        }
        return {kind: limit for kind, limit in given.items() if limit is not None}


@dataclass(frozen=True, slots=True)
class Deployed:
    """What networks are deployed as, which their sizes depend on."""

    config: NetworkConfig
    dtype: str
    scheme: Int8Scheme | None

    @classmethod
    def of(cls, accuracy: AccuracyTable | Predictor, timed_in: str | None) -> Deployed:
        """Of the networks whose accuracy is known, with the number type of a latency table if there
        is one."""
        if isinstance(accuracy, Predictor):
            config, int8 = network_config(accuracy), None
        else:
            config, int8 = accuracy.network_config, accuracy.evaluation.int8
        own = "int8" if int8 else "fp32"
        dtype = short_precision(timed_in or own)
        scheme = None
        if int8 is not None:
            scheme = parse_scheme(
                int8.calibration, int8.granularity, int8.float_parts, int8.weight_bits
            )
        return cls(config, dtype if dtype in VALUE_BYTES else own, scheme)

    def block_amount(self, kind: Kind, block: BlockSpec) -> float:
        """Of one block."""
        match kind:
            case "params":
                return block_params(block)
            case "size":
                return file_bytes(block, self.dtype, self.scheme)
            case "memory":
                return peak_bytes(block, self.dtype)

    def costs(self, kind: Kind, resolutions: Sequence[int], *, space: SpaceKind) -> CostTable:
        """The amounts of all blocks, with those that every network has as `fixed`."""
        found = SearchSpace(
            family=self.config.family,
            kind=space,
            width_mult=self.config.width_mult,
            resolutions=tuple(resolutions),
        )
        known: dict[tuple[int, BlockKey], float] = {}
        for place, resolution in enumerate(found.resolutions):
            for block in found.unique_blocks(resolution, self.config):
                if kind == "memory" or place == 0:
                    amount = self.block_amount(kind, block)
                else:  # the same at every resolution
                    amount = known[found.resolutions[0], block.key]
                known[resolution, block.key] = amount
        table = additive_costs(found, found.resolutions, lambda r, key: known[r, key])
        if kind != "memory":
            return table
        worst = [max(known[r, BlockKey(p)] for p in FIXED) for r in found.resolutions]
        return CostTable(table.resolutions, np.array(worst), table.blocks, table.family)

    def amounts(self, kind: Kind, population: Population, *, space: SpaceKind) -> np.ndarray:
        """Of each architecture, float64 (N,): a sum over its blocks; of memory, the most."""
        costs = self.costs(kind, population.resolutions, space=space)
        if kind != "memory":
            return costs.of(population)
        fixed = costs.fixed[population.resolution_index]
        most: np.ndarray = np.maximum(costs.parts(population).max(axis=1), fixed)
        return most


def parse_bytes(text: str, option: str) -> float:
    """A size as options spell it: `4000000`, `4e6`, `4MB` (a million bytes each), `4MiB` (2**20).

    Raises:
        UserError: naming the option.
    """
    found = re.fullmatch(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*)", text.strip(), re.ASCII)
    try:
        if found is not None:
            return float(found[1]) * BYTES[found[2]]
    except (KeyError, ValueError):
        pass
    raise UserError(f"{option} {text!r}: expected bytes, such as 4e6, 4MB, 500kB or 4MiB")
