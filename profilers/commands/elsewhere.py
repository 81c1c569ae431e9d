"""What `fofa-profile` does about machines other than this one: bundles, samples, and addresses."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

from fofa.errors import UserError
from fofa.latency import Lut
from profilers import registry
from profilers.hardware.devices import Device, find_device
from profilers.measuring.rounds import Instruments
from profilers.remote.bundle import make_bundle
from profilers.remote.request import LABEL, PLUGIN, RemoteOptions, device_label
from profilers.remote.samples import read_run
from profilers.remote.session import RemotePlugin
from profilers.remote.table import measure_elsewhere, write_table
from profilers.remote.transport import is_address, parse_address
from profilers.tables.measured import LutRequest


def remote_plugin(address: str, plugin: str | None) -> RemotePlugin:
    """What runs single networks on the machine at `address`.

    Raises:
        UserError: if the address is none, or another runtime is asked for than the agent has.
    """
    _check_runtime(plugin)
    return RemotePlugin(parse_address(address))


def named_elsewhere(device: str | None, plugin: str | None, out: Path) -> Device:
    """The device that a table of another machine is of.

    Args:
        device: a named device, or any new name: a label; of an address, or without one, the table's
            own name is the label, since an address tells who its user is.

    Raises:
        UserError: if another runtime is asked for than the agent has, or the name is none.
    """
    _check_runtime(device if plugin is None and device in registry.installed() else plugin)
    label = device_label(out.stem) if device is None or is_address(device) else device
    if not re.fullmatch(LABEL, label):
        raise UserError(f"--device {label!r}: expected a name of letters, digits, dots and dashes")
    return find_device(label, plugins=[PLUGIN], plugin=PLUGIN)


def write_bundle(path: Path, request: LutRequest) -> str:
    """Write the bundle that measures `request` once; returns what to do with it.

    Raises:
        UserError: if an option is not possible or the file cannot be written.
    """
    alone = dataclasses.replace(request.settings, sessions=1)
    options = RemoteOptions.of(request.options)
    size = make_bundle(dataclasses.replace(request, settings=alone), options).write(path)
    return (
        f"{path}: {size / 1e6:.2f} MB. Unpack it on the machine, run `python agent.py` there and "
        "bring samples.jsonl back: fofa-profile --import samples.jsonl --out TABLE.json"
    )


def import_samples(
    samples: Path, out: Path, warn: Callable[[str], None], *, require_match: bool
) -> Lut:
    """The table of samples that were brought back, written to `out`.

    Raises:
        UserError: if they are not what the agent writes, or unfinished, or of other hardware than
            the device's where `require_match` says that it must be.
    """
    run = read_run(samples)
    request = run.header.request.request()
    request.check_hardware(run.environment(), warn, required=require_match)
    return write_table(request, run, out)


def measure(
    address: str,
    request: LutRequest,
    out: Path,
    instruments: Instruments,
    *,
    fresh: bool,
    require_match: bool,
) -> Lut:
    """Measure the machine at `address` and write its table to `out`.

    Raises:
        UserError: if the address is none, or see `profilers.remote.table.measure_elsewhere`.
    """
    return measure_elsewhere(
        request,
        RemoteOptions.of(request.options),
        parse_address(address),
        out,
        instruments,
        fresh=fresh,
        require_match=require_match,
    )


def _check_runtime(plugin: str | None) -> None:
    if plugin not in (None, PLUGIN):
        raise UserError(f"--plugin {plugin}: the agent elsewhere runs {PLUGIN} only")
