"""Every installed plugin keeps to the protocol. The registry is the list of what is tested."""

import subprocess
import sys

import pytest

from profilers import registry
from profilers.conformance import check_plugin
from profilers.plugin import PluginOptions

HEAVY = ("torch", "onnxruntime", "openvino", "MNN", "tensorrt", "tensorrt_rtx_bindings")


@pytest.fixture
def options(request, name):
    """What a plugin has to be given before it can do anything."""
    if name == "published":
        write = request.getfixturevalue("write_ofa_yaml")
        return PluginOptions(source=str(write(160).parent))
    if name == "roofline":
        return PluginOptions(source="a100", batch_size=64, dtype="fp16")
    return PluginOptions(batch_size=2)


@pytest.mark.parametrize("name", registry.installed())
def test_plugin_keeps_to_the_protocol(name, options):
    plugin = registry.load_plugin(name)
    assert plugin.name == name
    available = check_plugin(plugin, options)
    if not available.available:
        pytest.skip(f"only its description was checked: {available.reason}")


def test_listing_plugins_imports_no_runtime():
    code = (
        "import sys; from profilers import registry; registry.list_plugins(); "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
