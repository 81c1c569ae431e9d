"""Timing one network: what is built, and in what a table was measured differently."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from fofa.accuracy import SpaceRecord
from fofa.errors import UserError
from fofa.latency import DeviceRecord, Lut, LutEntry, ProtocolRecord
from profilers import registry
from profilers.commands.profile import like_table, profile_network
from profilers.measuring.network_timing import (
    architecture_of,
    protocol_differences,
    time_network,
)
from profilers.measuring.settings import MeasureSettings
from profilers.measuring.simulation import (
    SimulatedDevice,
    SimulatedPlugin,
    SimulatedRunner,
    SimulatedSession,
)
from profilers.plugin import PluginOptions


def protocol(**fields):
    values = {"plugin": "tensorrt", "runtime": "TensorRT 10", "dtype": "fp16", "batch_size": 64}
    return ProtocolRecord(**values | {"l2": "warm", "cuda_graphs": False} | fields)


def table(**fields):
    return Lut(
        device=DeviceRecord(requested="a100", measured_on={}, matches=None),
        method="measured",
        protocol=protocol(**fields),
        space=SpaceRecord(kind="compound", width_mult=1.0, resolutions=[160]),
        entries=[LutEntry(resolution=160, position="stem", latency_ms=1)],
    )


class LoadsFiles(SimulatedSession):
    """Takes 2 ms for any file, 5% more for that of another replica."""

    def replica(self, number):
        return LoadsFiles(self._device, self._time, self._batch_size, number)

    def load(self, network):
        return SimulatedRunner(self._device, self._time, 2.0 * (1 + 0.05 * self._replica))


def test_a_network_is_built_twice_and_the_noise_is_between_the_builds():
    plugin = SimulatedPlugin(SimulatedDevice())
    session = LoadsFiles(plugin.device, plugin.time, 1)
    settings = MeasureSettings(min_rounds=5, max_rounds=5)
    timing = time_network(session, Path("net.onnx"), settings, plugin.instruments())
    assert 2.0 < timing.latency_ms < 2.1
    assert timing.noise_percent > 4


def test_nothing_differs_where_all_is_the_same():
    assert protocol_differences(table(clock="CUDA events"), protocol()) == ()


def test_options_that_change_the_latency_are_compared():
    assert protocol_differences(table(cuda_graphs=True, l2="cold"), protocol()) == (
        "l2 cold in the table, warm now",
        "cuda graphs True in the table, False now",
    )


def test_of_another_plugin_only_the_common_conditions_are_compared():
    now = ProtocolRecord(plugin="onnxruntime", runtime="x", dtype="fp16", batch_size=1, threads=1)
    assert [text.split(" in the table")[0] for text in protocol_differences(table(), now)] == [
        "plugin tensorrt",
        "runtime TensorRT 10",
        "batch size 64",
        "threads None",
    ]


def test_a_network_is_timed_as_the_table_was():
    chosen = PluginOptions(batch_size=8)
    like = like_table(chosen, table(cuda_graphs=True, l2="cold"), "tensorrt")
    assert like == PluginOptions(batch_size=8, dtype="fp16", extra={"l2": "cold", "graphs": "on"})
    assert like_table(chosen, None, "tensorrt") == chosen


def test_launches_and_memory_format_are_those_of_the_table():
    measured = table(cuda_graphs=False, launch="hidden", memory_format="channels_last")
    like = like_table(PluginOptions(), measured, "tensorrt")
    assert like.extra == {
        "l2": "warm",
        "graphs": "off",
        "launch": "hidden",
        "memory_format": "channels_last",
    }
    now = protocol(launch="included", memory_format="channels_last")
    assert protocol_differences(measured, now) == ("launch hidden in the table, included now",)


def test_an_engine_is_timed_by_tensorrt_and_does_not_say_what_it_holds(tmp_path, monkeypatch):
    plan = tmp_path / "net.plan"
    plan.write_bytes(b"an engine")
    assert architecture_of(plan, None) is None
    assert architecture_of(plan, "23432@160").name == "23432@160"
    opened = []

    def load_plugin(name):
        opened.append(name)
        raise UserError("no GPU here")

    monkeypatch.setattr(registry, "load_plugin", load_plugin)
    with pytest.raises(UserError, match="no GPU here"):
        profile_network(plan, None, None, None, PluginOptions(), MeasureSettings(), None)
    assert opened == ["tensorrt"]


def test_another_plugin_takes_over_what_it_may_know_too():
    like = like_table(PluginOptions(), table(threads=4), "onnxruntime")
    assert like == PluginOptions(batch_size=64, dtype="fp16")


def endless(where):
    """A network that never ends, if it were run; the loop is in its graph, a branch or a function.

    Its condition is a constant, and it has no greatest number of rounds.
    """
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), condition],
        [helper.make_tensor_value_info("d", TensorProto.BOOL, [])],
    )
    loop = helper.make_node("Loop", ["", "yes"], [], body=body)
    branch = helper.make_graph([loop], "branch", [], [])
    nodes = {
        "graph": [loop],
        "branch": [helper.make_node("If", ["yes"], [], then_branch=branch, else_branch=branch)],
        "function": [helper.make_node("Wait", ["yes"], [], domain="own")],
    }[where]
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "Wait", ["yes"], [], [loop], versions[:1])
    image = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])]
    graph = helper.make_graph(
        [*nodes, helper.make_node("Identity", ["x"], ["y"])],
        "endless",
        image,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor("yes", TensorProto.BOOL, [], [True])],
    )
    return helper.make_model(graph, opset_imports=versions, functions=[function])


@pytest.mark.parametrize("where", ["graph", "branch", "function"])
def test_a_network_that_need_not_end_is_not_begun(where, tmp_path):
    onnx.save(endless(where), tmp_path / "endless.onnx")
    with pytest.raises(UserError, match=r"endless.onnx: has a loop \(Loop\)"):
        profile_network(
            tmp_path / "endless.onnx",
            None,
            None,
            "onnxruntime",
            PluginOptions(),
            MeasureSettings(),
            None,
        )
