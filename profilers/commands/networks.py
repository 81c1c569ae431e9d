"""Which networks a latency table is to be of: what options say, or else the run that is named."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from fofa.commands.cli import parse_resolutions
from fofa.errors import UserError
from fofa.families import find_family
from fofa.runs import RunRecord
from fofa.space import DEFAULT_RESOLUTIONS, NetworkConfig, SearchSpace, SpaceKind


@dataclass(frozen=True, slots=True)
class WantedNetworks:
    """The networks of a table; `resolutions` are None where nobody named any."""

    space: SearchSpace
    config: NetworkConfig
    resolutions: tuple[int, ...] | None


def wanted_networks(
    run: Path | None,
    space: str | None,
    resolutions: str | None,
    family: str | None,
    width_mult: float | None,
    num_classes: int | None,
) -> WantedNetworks:
    """The networks that the options describe, completed by a run folder.

    Raises:
        UserError: if `run` is none, or a value is out of range.
    """
    record = None if run is None else RunRecord.of(run)
    of_run = None if record is None else tuple(record.resolutions)
    sizes = parse_resolutions(resolutions) or of_run
    usual = NetworkConfig() if record is None else record.supernet.network
    given: dict[str, Any] = {
        "family": None if family is None else find_family(family),
        "width_mult": width_mult,
        "num_classes": num_classes,
    }
    try:
        config = dataclasses.replace(
            usual, **{name: value for name, value in given.items() if value is not None}
        )
    except ValueError as error:
        raise UserError(str(error)) from None
    kind = "compound" if record is None else record.supernet.kind
    searched = SearchSpace(
        family=config.family,
        kind=kind if space is None else parse_space(space),
        width_mult=config.width_mult,
        resolutions=sizes or DEFAULT_RESOLUTIONS,
    )
    return WantedNetworks(searched, config, sizes)


def parse_space(text: str) -> SpaceKind:
    """The kind of space.

    Raises:
        UserError: if there is no such kind.
    """
    kinds: dict[str, SpaceKind] = {kind: kind for kind in get_args(SpaceKind)}
    if text not in kinds:
        raise UserError(f"--space {text!r}: expected one of {', '.join(kinds)}")
    return kinds[text]
