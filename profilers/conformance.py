"""What every plugin must keep to, as checks that any plugin can be run through.

For the tests of built-in plugins and of anybody else's (docs/add-a-device.md):

    def test_my_plugin_keeps_to_the_protocol():
        check_plugin(PLUGIN, PluginOptions(batch_size=1))

A plugin that cannot run here (`availability`) is checked as far as that goes.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from fofa.errors import UserError
from fofa.latency import Lut, Method, required_keys
from fofa.space import (
    NetworkConfig,
    SearchSpace,
    architecture_blocks,
    parse_architecture,
)
from profilers.hardware.load import Interference
from profilers.plugin import (
    Availability,
    MeasuringPlugin,
    Plugin,
    PluginOptions,
    Runner,
    Session,
    TablePlugin,
)

SMALL = NetworkConfig(width_mult=0.25, num_classes=10)
SMALL_SPACE = SearchSpace(width_mult=0.25, resolutions=(32, 64))
NETWORK = "22222@32"
CLOCK_SLACK = 1.05
"""A plugin's own clock (a GPU's, say) may run this much faster than the host's."""


class ConformanceError(AssertionError):
    """A rule of the plugin protocol that is broken, in one sentence."""


def check_plugin(
    plugin: Plugin, options: PluginOptions | None = None, *, simulated: bool = False
) -> Availability:
    """Run `plugin` through every rule that applies to it.

    Args:
        options: what to open it with; a source for a plugin that needs one.
        simulated: the plugin's times are made up, so they are not compared with the host's clock.

    Returns:
        What the plugin says of its availability. If it cannot run here, only its description was
        checked.

    Raises:
        ConformanceError: naming the first rule that is broken.
    """
    options = options or PluginOptions()
    check_description(plugin)
    available = plugin.availability()
    _require(isinstance(available, Availability), "availability() returns an Availability")
    _require(
        available.available or bool(available.reason.strip()),
        "a plugin that is not available gives the reason",
    )
    if not available.available:
        return available
    if isinstance(plugin, MeasuringPlugin):
        check_session(plugin, options, simulated=simulated)
    elif isinstance(plugin, TablePlugin):
        check_table(plugin, options)
    return available


def check_description(plugin: Plugin) -> None:
    """What a plugin says about itself.

    Raises:
        ConformanceError: naming the first rule that is broken.
    """
    kinds = (MeasuringPlugin, TablePlugin)
    _require(isinstance(plugin, kinds), "a plugin is a MeasuringPlugin or a TablePlugin")
    _require(
        re.fullmatch(r"[a-z0-9][a-z0-9._-]*", plugin.name) is not None,
        "name is of lower-case letters, digits, dots, dashes and underscores",
    )
    _require(
        bool(plugin.summary.strip()) and "\n" not in plugin.summary, "summary is one line of text"
    )
    _require(plugin.method in get_args(Method), f"method is one of {get_args(Method)}")
    if isinstance(plugin, MeasuringPlugin):
        _require(plugin.method == "measured", "the method of a MeasuringPlugin is 'measured'")


def check_session(plugin: MeasuringPlugin, options: PluginOptions, *, simulated: bool) -> None:
    """Opening, lowering, running and closing.

    Raises:
        ConformanceError: naming the first rule that is broken.
    """
    misspelt = PluginOptions(extra={"no-such-option": "1"})
    _refuses(lambda: plugin.open(misspelt), "an unknown option")
    _refuses(lambda: plugin.open(PluginOptions(batch_size=0)), "a batch size of 0")
    _refuses(lambda: plugin.open(PluginOptions(dtype="fp3")), "an unknown dtype")
    for _ in range(2):  # a session that was closed leaves nothing behind that stops the next
        with plugin.open(options) as session:
            _check_records(plugin, session, options)
            _check_machine(session)
            _check_energy(session)
            _check_running(session, simulated=simulated)
            _check_loading(session)


def check_table(plugin: TablePlugin, options: PluginOptions) -> None:
    """The table of a plugin that runs nothing.

    Raises:
        ConformanceError: naming the first rule that is broken.
    """
    first, second = (plugin.table(SMALL_SPACE, SMALL, options, "some-device") for _ in range(2))
    _require(first == second, "the same source and options give the same table")
    _require(first.device.requested == "some-device", "the table is of the device asked for")
    _require(first.device.matches is None, "nothing was run, so `matches` is null")
    _require(first.method == plugin.method, "the table's method is the plugin's")
    _require(first.protocol.plugin == plugin.name, "the protocol names the plugin")
    _require(bool(first.source), "the table says what it comes from")
    for resolution in first.space.resolutions:
        for key in required_keys(first.search_space):
            _require(first.block_ms(resolution, key) > 0, f"{key} at {resolution} px has a time")
    _require(
        Lut.model_validate_json(first.to_json()) == first, "the table is whole after a round trip"
    )


def _check_records(plugin: Plugin, session: Session, options: PluginOptions) -> None:
    protocol = session.protocol
    _require(protocol.plugin == plugin.name, "the protocol names the plugin")
    _require(bool(protocol.runtime), "the protocol names the runtime and its version")
    _require(protocol == session.protocol, "the protocol does not change while a session is open")
    _require(
        options.batch_size is None or protocol.batch_size == options.batch_size,
        "the batch size of the protocol is the one asked for",
    )
    _require(
        options.dtype is None or protocol.dtype == options.dtype,
        "the dtype of the protocol is the one asked for",
    )
    for name, record in (
        ("protocol", protocol.model_dump()),
        ("hardware()", session.hardware()),
        ("environment()", session.environment()),
    ):
        _require(_is_plain(record), f"{name} is of plain JSON values")


def _check_running(session: Session, *, simulated: bool) -> None:
    """Every kind of block, a whole network, and runners that are open side by side."""
    blocks = SMALL_SPACE.unique_blocks(32, SMALL)
    network = architecture_blocks(parse_architecture(NETWORK), SMALL)
    kinds = {(block.key.position, block.key.stage, block.key.block): block for block in blocks}
    runners: list[Runner] = [session.lower([block]) for block in kinds.values()]
    runners.append(session.lower(network))
    for _ in range(3):
        for runner in runners:
            start = time.perf_counter()
            latency_ms = runner.run()
            wall_ms = 1e3 * (time.perf_counter() - start)
            _require(
                _is_latency(latency_ms),
                f"run() returns milliseconds above 0 as a float, not {latency_ms!r}",
            )
            _require(
                simulated or latency_ms <= CLOCK_SLACK * wall_ms,
                f"run() waits until it is done and returns milliseconds: it returned "
                f"{latency_ms:.3g} after {wall_ms:.3g} ms",
            )
    for runner in runners:
        visit = getattr(runner, "visit", None)
        _require(visit is not None, "a runner has visit(); derive it from profilers.plugin.Runner")
        found = list(runner.visit(1, 3))
        _require(
            len(found) == 3 and all(_is_latency(latency_ms) for latency_ms in found),
            f"visit(1, 3) returns three latencies, not {found!r}",
        )
    for runner in runners:
        runner.close()


def _check_machine(session: Session) -> None:
    """Where a session measures another machine, all that is recorded is that machine's."""
    machine, meter = session.machine(), session.meter()
    _require(
        (machine is None) == (meter is None),
        "machine() and meter() are both of another machine, or both None",
    )
    if machine is None or meter is None:
        return
    _require(_is_plain(machine), "machine() is of plain JSON values")
    _require(
        all(isinstance(machine.get(name), dict) for name in ("cpu", "system", "versions", "state")),
        "machine() has cpu, system, versions and state",
    )
    reading = meter()
    _require(
        set(reading) == set(Interference._fields)
        and all(value is None or value >= 0 for value in reading.values()),
        f"meter() gives {', '.join(Interference._fields)}, each None or no less than 0",
    )


def _check_energy(session: Session) -> None:
    """Energy is counted, or a person is told why not."""
    try:
        with session.energy() as counter:
            source, joules = counter.source, counter.joules()
    except UserError:
        return
    _require(bool(source.strip()), "a counter of energy says what counts")
    _require(math.isfinite(joules) and joules >= 0, "a counter of energy shows joules, 0 or more")


def _check_loading(session: Session) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        _refuses(lambda: session.load(path), "a network file that is not there")
        path.write_bytes(b"this is no network")
        _refuses(lambda: session.load(path), "a file that is no network")


def _refuses(action: Callable[[], object], what: str) -> None:
    """Require that `action` raises the error that command lines show as one line."""
    try:
        action()
    except UserError:
        return
    raise ConformanceError(f"{what} is refused with a UserError")


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise ConformanceError(rule)


def _is_latency(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value) and value > 0


def _is_plain(record: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(record, allow_nan=False)) == record)
    except (TypeError, ValueError):
        return False
