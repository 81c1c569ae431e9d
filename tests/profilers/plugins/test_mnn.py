"""The MNN plugin with the real runtime."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from waiting import PATIENCE_SECONDS

from fofa.errors import UserError
from fofa.latency import Lut
from fofa.runtime.graph import build_model
from fofa.space import NetworkConfig, Subnet, network_blocks
from profilers.conformance import check_plugin
from profilers.hardware.cores import affinity
from profilers.plugin import PluginOptions
from profilers.plugins.mnn import PLUGIN

SMALL = NetworkConfig(width_mult=0.25, num_classes=10)
BLOCKS = network_blocks(Subnet.compound((2,) * 5), 32, SMALL)
needs_mnn = pytest.mark.skipif(not PLUGIN.availability().available, reason="MNN is not installed")


TINY = ("--resolutions", "32", "--width-mult", "0.25", "--num-classes", "10")


def profile(*arguments):
    """The program, in a process whose standard output compiled code may write to."""
    command = [sys.executable, "-m", "profilers.commands.profile", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)


def save(path, batch_size=1, dtype="fp32"):
    onnx.save(build_model(BLOCKS, batch_size, dtype), path)
    return path


@needs_mnn
@pytest.mark.parametrize("threads", [1, 2])
def test_it_keeps_to_the_protocol(threads):
    assert check_plugin(PLUGIN, PluginOptions(batch_size=2, threads=threads)).available


@needs_mnn
def test_options_stand_in_the_protocol():
    with PLUGIN.open(PluginOptions(threads=2, extra={"pin": "off"})) as session:
        protocol = session.protocol.model_dump()
        assert protocol["runtime"].startswith("mnn 3.")
        assert (protocol["dtype"], protocol["threads"], protocol["pinned"]) == ("fp32", 2, False)
        assert protocol["precision"] == "normal"
        assert "pinned_cores" not in session.hardware()


@needs_mnn
def test_it_stays_on_as_many_cores_as_it_has_threads():
    before = affinity()
    with PLUGIN.open(PluginOptions()) as session:
        session.lower(BLOCKS).run()
        if before is not None:
            assert session.hardware()["pinned_cores"] == sorted(affinity())
            assert len(affinity()) == 1
    assert affinity() == before


@needs_mnn
def test_a_network_is_loaded_once_however_often_it_runs(monkeypatch):
    with PLUGIN.open(PluginOptions()) as session:
        runner = session.lower(BLOCKS)
        monkeypatch.setattr("fofa.runtime.mnn.convert", None)
        monkeypatch.setattr("fofa.runtime.mnn.tempfile", None)
        first = np.array(runner._network.run(runner._given).read())
        assert len(runner.visit(2, 3)) == 3
        np.testing.assert_array_equal(runner._network.run(runner._given).read(), first)


@needs_mnn
def test_exported_files_run_and_others_are_refused(tmp_path):
    save(tmp_path / "free.onnx", None)
    save(tmp_path / "two.onnx", 2)
    save(tmp_path / "int8.onnx", None, "int8")
    (tmp_path / "junk.onnx").write_bytes(b"\x00junk" * 50)
    names = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [3, 4, 8, 8]) for n in "abc"]
    two = helper.make_graph([helper.make_node("Add", ["a", "b"], ["c"])], "g", names[:2], names[2:])
    onnx.save(helper.make_model(two, ir_version=8), tmp_path / "inputs.onnx")
    with PLUGIN.open(PluginOptions(batch_size=3)) as session:
        assert session.load(tmp_path / "free.onnx").run() > 0
        with pytest.raises(UserError, match="its batch size is 2, asked for is 3"):
            session.load(tmp_path / "two.onnx")
        with pytest.raises(UserError, match=r"int8\.onnx: MNN's converter does not take"):
            session.load(tmp_path / "int8.onnx")
        with pytest.raises(UserError, match="2 inputs and 1 outputs"):
            session.load(tmp_path / "inputs.onnx")
        with pytest.raises(UserError, match="no such file"):
            session.load(tmp_path / "none.onnx")
        with pytest.raises(UserError, match=r"junk\.onnx: not a network that mnn runs"):
            session.load(tmp_path / "junk.onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PluginOptions(dtype="int8"), "mnn: dtype 'int8': expected one of fp32"),
        (PluginOptions(batch_size=0), "batch size 0"),
        (PluginOptions(threads=0), "0 threads"),
        (PluginOptions(extra={"pin": "yes"}), "pin 'yes', expected off or on"),
        (PluginOptions(extra={"streams": "2"}), "unknown options streams; known: pin"),
    ],
)
def test_impossible_options_are_user_errors(options, message):
    with pytest.raises(UserError, match=message):
        PLUGIN.open(options)


@needs_mnn
def test_a_table_is_measured_and_nothing_else_is_printed(tmp_path):
    """A tiny space, end to end: the program as a person runs it."""
    out = tmp_path / "t.json"
    done = profile(
        *("--device", "here", "--plugin", "mnn", "--out", out, *TINY),
        *("--sessions", 1, "--budget-seconds", 2, "--json"),
    )
    if done.returncode == 1 and not out.exists():
        pytest.skip("this machine is too busy to measure anything on it")
    assert done.returncode == 0, done.stderr
    lut = Lut.read(out)
    assert json.loads(done.stdout)["stability"] == lut.stability.model_dump()
    assert (lut.protocol.plugin, lut.protocol.dtype) == ("mnn", "fp32")
    assert lut.device.measured_on["mnn"] == lut.protocol.runtime.removeprefix("mnn ")


@needs_mnn
def test_a_wrong_file_is_one_line_and_exit_code_2(tmp_path):
    (tmp_path / "junk.mnn").write_bytes(b"junk" * 50)
    int8 = save(tmp_path / "int8.onnx", None, "int8")
    for file, message in (
        (tmp_path / "junk.mnn", "no readable ONNX file"),
        (int8, "MNN's converter does not take the network"),
    ):
        done = profile("--device", "here", "--plugin", "mnn", "--network", file)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
