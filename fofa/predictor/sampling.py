"""Which elastic architectures to measure for a predictor."""

from __future__ import annotations

import random

from fofa.errors import UserError
from fofa.space import Architecture, SearchSpace


def sample_architectures(space: SearchSpace, num: int, seed: int) -> list[Architecture]:
    """`num` different architectures, each elastic choice drawn uniformly.

    Raises:
        UserError: if the space is compound (all of it can be measured), or `num` is not possible.
    """
    if space.kind != "elastic":
        raise UserError(
            "the compound space needs no predictor: fofa-eval measures all of its architectures"
        )
    if not 1 <= num <= 1_000_000:
        raise UserError(f"{num} architectures: expected 1 to 1,000,000")
    rng = random.Random(seed)
    drawn: dict[Architecture, None] = {}
    while len(drawn) < num:  # the space holds more than 10^19
        drawn[space.sample(rng)] = None
    return list(drawn)
