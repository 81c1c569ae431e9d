"""The OpenVINO plugin with the real runtime."""

import numpy as np
import onnx
import onnxruntime
import pytest

from fofa.errors import UserError
from fofa.runtime.graph import INPUT_NAME, build_model, random_input
from fofa.space import NetworkConfig, Subnet, network_blocks
from profilers.conformance import check_plugin
from profilers.hardware.cores import affinity
from profilers.plugin import PluginOptions
from profilers.plugins.openvino import PLUGIN

SMALL = NetworkConfig(width_mult=0.25, num_classes=10)
BLOCKS = network_blocks(Subnet.compound((2,) * 5), 32, SMALL)
needs_openvino = pytest.mark.skipif(
    not PLUGIN.availability().available, reason="openvino is not installed"
)


def save(path, batch_size=1, dtype="fp32"):
    onnx.save(build_model(BLOCKS, batch_size, dtype), path)
    return path


@needs_openvino
@pytest.mark.parametrize("dtype", ["fp32", "int8"])
def test_it_keeps_to_the_protocol_in_each_type(dtype):
    assert check_plugin(PLUGIN, PluginOptions(batch_size=2, dtype=dtype)).available


@needs_openvino
@pytest.mark.parametrize("dtype", ["fp32", "int8"])
def test_what_is_timed_computes_the_network(dtype):
    with PLUGIN.open(PluginOptions(batch_size=2, dtype=dtype)) as session:
        runner = session.lower(BLOCKS)
        runner.run()
        found = runner._request.get_output_tensor().data
        model = build_model(BLOCKS, 2, dtype).SerializeToString()
        reference = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        images = random_input((2, 3, 32, 32))
        [expected] = reference.run(None, {INPUT_NAME: images})
        tolerance = 1e-4 if dtype == "fp32" else 0.25 * np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@needs_openvino
def test_options_reach_the_runtime_and_stand_in_the_protocol():
    options = PluginOptions(extra={"pin": "off"})
    with PLUGIN.open(options) as session:
        protocol = session.protocol.model_dump()
        assert protocol["runtime"].startswith("openvino 20")
        assert (protocol["dtype"], protocol["threads"], protocol["streams"]) == ("fp32", 1, 1)
        assert protocol["pinned"] is False
        assert protocol["inference_precision"] == "f32"
        compiled = session.lower(BLOCKS)._request.get_compiled_model()
        assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
        assert compiled.get_property("NUM_STREAMS") == 1
        assert "32" in str(compiled.get_property("INFERENCE_PRECISION_HINT"))


@needs_openvino
def test_it_stays_on_as_many_cores_as_it_has_threads():
    before = affinity()
    with PLUGIN.open(PluginOptions()) as session:
        if before is not None:
            assert session.hardware()["pinned_cores"] == sorted(affinity())
            assert len(affinity()) == 1
    assert affinity() == before


@needs_openvino
def test_exported_files_run_and_others_are_refused(tmp_path):
    save(tmp_path / "free.onnx", None)
    save(tmp_path / "two.onnx", 2)
    (tmp_path / "junk.onnx").write_bytes(b"\x00junk" * 50)
    with PLUGIN.open(PluginOptions(batch_size=3)) as session:
        assert session.load(tmp_path / "free.onnx").run() > 0
        with pytest.raises(UserError, match="its batch size is 2, asked for is 3"):
            session.load(tmp_path / "two.onnx")
        with pytest.raises(UserError, match="no such file"):
            session.load(tmp_path / "none.onnx")
        with pytest.raises(UserError, match=r"junk\.onnx: not a network that openvino runs"):
            session.load(tmp_path / "junk.onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PluginOptions(dtype="fp16"), "dtype 'fp16': expected one of fp32, int8"),
        (PluginOptions(batch_size=0), "batch size 0"),
        (PluginOptions(threads=0), "0 threads"),
        (PluginOptions(extra={"pin": "yes"}), "pin 'yes', expected off or on"),
        (PluginOptions(extra={"streams": "2"}), "streams '2', expected 1 to the number of threads"),
        (PluginOptions(extra={"streams": "many"}), "streams 'many'"),
        (PluginOptions(source="somewhere"), "takes no source"),
        (PluginOptions(extra={"turbo": "on"}), "unknown options turbo; known: pin, streams"),
    ],
)
def test_impossible_options_are_user_errors(options, message):
    with pytest.raises(UserError, match=message):
        PLUGIN.open(options)
