"""Plugins by entry point: found without loading, loaded when chosen, broken ones reported."""

from importlib.metadata import EntryPoint

import pytest

from fofa.errors import UserError
from profilers.measuring.simulation import SimulatedPlugin
from profilers.plugin import ENTRY_POINT_GROUP
from profilers.registry import installed, list_plugins, load_plugin


class RaisingPlugin(SimulatedPlugin):
    name = "raising"

    def availability(self):
        raise RuntimeError("no such device")


class AtHand:
    """An entry point whose object is at hand: test modules cannot be imported by name."""

    value = "test:RaisingPlugin"

    def load(self):
        return RaisingPlugin


def points(**values):
    return {name: EntryPoint(name, value, ENTRY_POINT_GROUP) for name, value in values.items()}


@pytest.fixture
def broken_module(tmp_path, monkeypatch):
    (tmp_path / "third_party_plugin.py").write_text("raise ValueError('half\\ninstalled')")
    monkeypatch.syspath_prepend(tmp_path)
    return points(broken="third_party_plugin:PLUGIN")


def test_the_built_in_plugins_are_installed():
    assert {"onnxruntime", "tensorrt", "cuda", "published", "roofline"} <= set(installed())


@pytest.mark.parametrize(
    "name", ["onnxruntime", "openvino", "mnn", "tensorrt", "cuda", "published", "roofline"]
)
def test_each_built_in_plugin_loads_under_its_own_name(name):
    assert load_plugin(name).name == name


def test_an_unknown_plugin_is_an_error_that_lists_those_that_exist():
    with pytest.raises(UserError, match=r"no profiler plugin 'nope'; installed: .*onnxruntime"):
        load_plugin("nope")


def test_classes_and_objects_are_both_taken():
    assert isinstance(
        load_plugin("s", points(s="profilers.measuring.simulation:SimulatedPlugin")),
        SimulatedPlugin,
    )


def test_a_plugin_that_does_not_import_is_listed_with_the_reason(broken_module):
    (status,) = list_plugins(broken_module)
    assert (status.name, status.plugin, status.availability.available) == ("broken", None, False)
    assert status.availability.reason == "broken: ValueError: half installed"
    with pytest.raises(UserError, match="'broken' is broken: ValueError: half installed"):
        load_plugin("broken", broken_module)


def test_something_that_is_no_plugin_is_broken():
    (status,) = list_plugins(points(number="math:pi"))
    assert "math:pi is a float" in status.availability.reason


def test_a_plugin_that_fails_to_say_whether_it_is_available_is_listed():
    (status,) = list_plugins({"raising": AtHand()})
    assert not status.availability.available
    assert status.availability.reason == "broken: RuntimeError: no such device"
