"""The conformance check finds each broken rule: a sound plugin passes, and one fault at a time."""

import itertools
from typing import ClassVar

import pytest

from fofa.accuracy import SpaceRecord
from fofa.errors import UserError
from fofa.latency import DeviceRecord, Lut, LutEntry, ProtocolRecord
from profilers.conformance import ConformanceError, check_plugin
from profilers.plugin import (
    Availability,
    MeasuringPlugin,
    PluginOptions,
    Runner,
    Session,
    TablePlugin,
)


class ConstantRunner(Runner):
    def __init__(self, latency_ms=0.5):
        self.latency_ms = latency_ms

    def run(self):
        return self.latency_ms

    def close(self):
        pass


class SimulatedSession(Session):
    def __init__(self, batch_size):
        self.batch_size = batch_size

    @property
    def protocol(self):
        return ProtocolRecord(
            plugin="simulated", runtime="made up", dtype="fp32", batch_size=self.batch_size
        )

    def lower(self, blocks):
        return ConstantRunner()

    def load(self, network):
        raise UserError(f"{network}: nothing is loaded here")


class SimulatedPlugin(MeasuringPlugin):
    name = "simulated"
    summary = "makes its times up"
    session = SimulatedSession

    def availability(self):
        return Availability(True)

    def open(self, options):
        if options.extra or options.batch_size == 0 or options.dtype not in (None, "fp32"):
            raise UserError("not possible")
        return self.session(options.batch_size or 1)


def test_a_sound_plugin_passes():
    assert check_plugin(SimulatedPlugin(), simulated=True).available


def test_a_sound_plugin_of_another_machine_passes():
    assert check_plugin(elsewhere(MACHINE, lambda: QUIET), simulated=True).available


def test_a_visit_runs_unrecorded_then_recorded():
    runs = iter(range(1, 100))

    class Counting(ConstantRunner):
        def run(self):
            return float(next(runs))

    assert Counting().visit(2, 3) == [3.0, 4.0, 5.0]


def test_one_that_cannot_run_here_is_checked_as_far_as_that_goes():
    class Absent(SimulatedPlugin):
        def availability(self):
            return Availability(False, "no such hardware")

        def open(self, options):
            raise AssertionError("must not be opened")

    assert check_plugin(Absent()).reason == "no such hardware"


def plugin_with(**attributes):
    return type("Changed", (SimulatedPlugin,), attributes)()


def session_with(**attributes):
    return plugin_with(session=type("Changed", (SimulatedSession,), attributes))


def lowering_to(latency_ms):
    return session_with(lower=lambda self, blocks: ConstantRunner(latency_ms))


COUNTER = itertools.count(1)


class BareRunner:
    """As plugins were before runners had visits."""

    def run(self):
        return 0.5

    def close(self):
        pass


class ForgetfulRunner(ConstantRunner):
    def visit(self, warmup, samples):
        return [0.5] * (samples - 1)


MACHINE = {"cpu": {}, "system": {}, "versions": {}, "state": {}}
QUIET = dict.fromkeys(("other_cpu_percent", "steal_percent", "machine_cpu_percent"), 0.0)


def elsewhere(machine, meter):
    return session_with(machine=lambda self: machine, meter=lambda self: meter)


FAULTS = {
    "a runner without visits": (
        session_with(lower=lambda self, blocks: BareRunner()),
        r"a runner has visit\(\); derive it from",
    ),
    "a visit that is too short": (
        session_with(lower=lambda self, blocks: ForgetfulRunner()),
        "returns three latencies",
    ),
    "another machine without a meter": (elsewhere(MACHINE, None), "are both of another machine"),
    "a meter of no machine": (elsewhere(None, lambda: QUIET), "are both of another machine"),
    "a machine that says nothing": (elsewhere({}, lambda: QUIET), "machine.. has cpu, system"),
    "a machine of no JSON": (elsewhere({"cpu": 1j}, lambda: QUIET), "machine.. is of plain JSON"),
    "a meter of its own units": (elsewhere(MACHINE, lambda: {"load": 1}), "meter.. gives other"),
    "a name with a space": (plugin_with(name="My Device"), "name is of lower-case"),
    "no summary": (plugin_with(summary=" "), "summary is one line"),
    "a wrong method": (plugin_with(method="guessed"), "method is one of"),
    "an estimate that claims to measure": (plugin_with(method="estimated"), "is 'measured'"),
    "unavailable without a reason": (
        plugin_with(availability=lambda self: Availability(False)),
        "gives the reason",
    ),
    "options swallowed": (
        plugin_with(open=lambda self, options: SimulatedSession(1)),
        "an unknown option is refused",
    ),
    "zero": (lowering_to(0.0), "milliseconds above 0"),
    "nan": (lowering_to(float("nan")), "milliseconds above 0"),
    "no number": (lowering_to(None), "milliseconds above 0"),
    "batch size ignored": (
        plugin_with(session=staticmethod(lambda batch_size: SimulatedSession(1))),
        "batch size of the protocol",
    ),
    "a protocol that changes": (
        session_with(
            protocol=property(
                lambda self: ProtocolRecord(
                    plugin="simulated", runtime=f"run {next(COUNTER)}", dtype=None, batch_size=3
                )
            )
        ),
        "does not change",
    ),
    "another's name": (
        session_with(
            protocol=property(
                lambda self: ProtocolRecord(plugin="x", runtime="y", dtype=None, batch_size=3)
            )
        ),
        "protocol names the plugin",
    ),
    "hardware that no file can hold": (
        session_with(hardware=lambda self: {"gpu": object()}),
        r"hardware\(\) is of plain JSON",
    ),
    "anything loads": (
        session_with(load=lambda self, network: ConstantRunner()),
        "not there is refused",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_rule_is_named(fault):
    plugin, rule = FAULTS[fault]
    with pytest.raises(ConformanceError, match=rule):
        check_plugin(plugin, PluginOptions(batch_size=3), simulated=True)


def test_a_time_longer_than_it_took_is_a_wrong_unit():
    with pytest.raises(ConformanceError, match="returns milliseconds: it returned 500"):
        check_plugin(lowering_to(500.0))


class ConstantTable(TablePlugin):
    name = "constant"
    summary = "one millisecond for everything"
    method = "estimated"
    changes: ClassVar = {}

    def availability(self):
        return Availability(True)

    def table(self, space, config, options, device):
        entries = [
            LutEntry(
                resolution=resolution,
                position=block.key.position,
                stage=block.key.stage,
                block=block.key.block,
                kernel=block.key.kernel,
                expand=block.key.expand,
                latency_ms=1.0,
            )
            for resolution in space.resolutions
            for block in space.unique_blocks(resolution, config)
        ]
        fields = {
            "device": DeviceRecord(requested=device, measured_on={}, matches=None),
            "method": "estimated",
            "protocol": ProtocolRecord(plugin="constant", runtime="-", dtype=None, batch_size=1),
            "space": SpaceRecord.of(space),
            "entries": entries,
            "source": "thin air",
        }
        return Lut(**(fields | {name: make(fields) for name, make in self.changes.items()}))


def test_a_sound_table_passes():
    assert check_plugin(ConstantTable()).available


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"method": lambda fields: "published"}, "the table's method is the plugin's"),
        ({"source": lambda fields: None}, "says what it comes from"),
        ({"source": lambda fields: f"{next(COUNTER)}"}, "give the same table"),
        (
            {"device": lambda fields: fields["device"].model_copy(update={"requested": "x"})},
            "device asked for",
        ),
        (
            {"device": lambda fields: fields["device"].model_copy(update={"matches": True})},
            "`matches` is null",
        ),
    ],
)
def test_a_broken_rule_of_tables_is_named(changes, rule):
    plugin = type("Changed", (ConstantTable,), {"changes": changes})()
    with pytest.raises(ConformanceError, match=rule):
        check_plugin(plugin)


def test_a_table_that_lacks_a_block_names_it():
    plugin = type(
        "Changed", (ConstantTable,), {"changes": {"entries": lambda f: f["entries"][1:]}}
    )()
    with pytest.raises(UserError, match="no entry for stem at 32 px"):
        check_plugin(plugin)
