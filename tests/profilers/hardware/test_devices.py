"""Named devices: what they choose, expect and say."""

import pytest

from fofa.errors import UserError
from profilers.hardware.devices import DEVICES, find_device, ran_on
from profilers.plugin import PluginOptions

BUILT_IN = ("cuda", "onnxruntime", "published", "roofline", "tensorrt")

MATCHING = {
    "epyc7763": {"cpu": {"model": "AMD EPYC 7763 64-Core Processor"}},
    "a100": {"gpus": [{"name": "NVIDIA A100-SXM4-40GB", "compute_capability": "8.0"}]},
    "pascal": {"gpus": [{"name": "NVIDIA GeForce GTX 1080 Ti", "compute_capability": "6.1"}]},
}
OTHER = {
    "epyc7763": {"cpu": {"model": "AMD EPYC 77631 64-Core Processor"}},
    "a100": {"gpus": [{"name": "NVIDIA H200", "compute_capability": "9.0"}]},
    "pascal": {"gpus": [{"name": "NVIDIA H200", "compute_capability": "9.0"}]},
}
NOTHING = {"cpu": {"model": None}, "gpus": []}


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_every_named_device_is_found_and_has_an_installed_plugin(device):
    assert find_device(device.name, plugins=BUILT_IN) is device
    assert device.plugin in BUILT_IN
    assert device.defaults.batch_size >= 1


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_expectation_tells_the_right_hardware_from_other_and_from_none(device):
    if device.name not in MATCHING:
        assert device.matches(NOTHING) is None
        assert device.mismatch(NOTHING) is None
        return
    assert device.matches(MATCHING[device.name]) is True
    assert device.mismatch(MATCHING[device.name]) is None
    for environment in (OTHER[device.name], NOTHING, {}):
        assert device.matches(environment) is False
        assert device.name in device.mismatch(environment)


def test_the_gpu_that_was_used_counts_rather_than_the_first():
    environment = OTHER["a100"] | {"gpu": MATCHING["a100"]["gpus"][0]}
    assert find_device("a100").matches(environment) is True


def test_hardware_that_was_there_but_not_used_does_not_count():
    """A CPU plugin beside an A100, and a GPU plugin in a machine with an EPYC 7763."""
    both = MATCHING["epyc7763"] | MATCHING["a100"]
    assert find_device("a100").matches(ran_on(both)) is False
    assert find_device("epyc7763").matches(ran_on(both)) is True
    on_gpu = both | {"gpu": both["gpus"][0]}
    assert find_device("a100").matches(ran_on(on_gpu)) is True
    assert find_device("epyc7763").matches(ran_on(on_gpu)) is False
    assert "found here: NVIDIA A100" in find_device("epyc7763").mismatch(ran_on(on_gpu))


def test_chosen_options_win_over_defaults():
    device = find_device("a100")
    options = device.options(PluginOptions(batch_size=8, extra={"l2": "cold"}))
    assert options == PluginOptions(batch_size=8, dtype="fp16", extra={"l2": "cold"})


def test_plugin_override_keeps_name_defaults_and_expectation():
    measured = find_device("a100")
    estimated = find_device("a100", plugins=BUILT_IN, plugin="roofline")
    assert estimated.plugin == "roofline"
    assert (estimated.name, estimated.defaults) == (measured.name, measured.defaults)
    assert estimated.expectation == measured.expectation


def test_a_plugin_is_a_device_and_a_new_name_needs_a_plugin():
    assert find_device("roofline", plugins=BUILT_IN).plugin == "roofline"
    assert find_device("pixel8", plugins=BUILT_IN, plugin="published").name == "pixel8"
    with pytest.raises(UserError, match="unknown device 'pixel8'"):
        find_device("pixel8", plugins=BUILT_IN)


def test_errors_list_what_is_known():
    with pytest.raises(UserError, match=r"epyc7763.*roofline.*did you mean a100") as caught:
        find_device("a10", plugins=BUILT_IN)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="unknown plugin 'trt'; installed: cuda, onnxruntime"):
        find_device("a100", plugins=BUILT_IN, plugin="trt")
    with pytest.raises(UserError, match="unknown device"):
        find_device("../evil", plugins=BUILT_IN, plugin="published")
